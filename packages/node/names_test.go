package node

import "reflect"

// jsonNames lists the JSON names of all fields of a type, at any depth.
func jsonNames(v any) []string {
	return namesOf(reflect.TypeOf(v))
}

func namesOf(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return namesOf(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var out []string
	for i, name := range keys(t) {
		if name != "" {
			out = append(append(out, name), namesOf(t.Field(i).Type)...)
		}
	}
	return out
}
