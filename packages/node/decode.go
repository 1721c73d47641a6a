package node

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// decoder fills Go values from one file's tree and collects what is wrong. A
// value of the wrong type leaves its target as it was.
type decoder struct {
	file     string
	lines    map[string]int
	problems []Problem
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, lines: map[string]int{}}
}

// bad reports a problem with a field whose line the decoder has seen.
func (d *decoder) bad(field, value, reason, remedy string) {
	d.problems = append(d.problems, Problem{File: d.file, Line: d.line(field), Field: field, Value: value, Reason: reason, Remedy: remedy})
}

// line finds the field's line, or that of the nearest field around it.
func (d *decoder) line(field string) int {
	for field != "" {
		if n, ok := d.lines[field]; ok {
			return n
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return 0
}

// assign stores v in dst, which must be settable. It reports whether it could.
func (d *decoder) assign(field string, v value, dst reflect.Value) bool {
	d.lines[field] = v.line
	if u, ok := dst.Addr().Interface().(json.Unmarshaler); ok {
		return d.custom(field, v, u)
	}
	switch dst.Kind() {
	case reflect.Struct:
		return d.structure(field, v, dst)
	case reflect.Map:
		return d.mapping(field, v, dst)
	case reflect.Slice:
		return d.list(field, v, dst)
	default:
		return d.scalar(field, v, dst)
	}
}

func (d *decoder) wrongType(field string, v value, want string) bool {
	d.bad(field, v.text(), "is "+v.kind(), "write "+want)
	return false
}

func (d *decoder) scalar(field string, v value, dst reflect.Value) bool {
	switch t := v.v.(type) {
	case string:
		if dst.Kind() == reflect.String {
			dst.SetString(t)
			return true
		}
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(t)
			return true
		}
	case json.Number:
		if n, err := t.Int64(); err == nil && dst.CanInt() && !dst.OverflowInt(n) {
			dst.SetInt(n)
			return true
		}
	}
	want := map[reflect.Kind]string{reflect.String: "a string in double quotes", reflect.Bool: "true or false without quotes"}[dst.Kind()]
	if want == "" {
		want = "a whole number without quotes"
	}
	return d.wrongType(field, v, want)
}

// custom serves types that read their own JSON, such as sizes.
func (d *decoder) custom(field string, v value, u json.Unmarshaler) bool {
	if !strings.Contains("a string a number", v.kind()) {
		return d.wrongType(field, v, "a number or a string")
	}
	b, err := json.Marshal(v.v)
	if err == nil {
		err = u.UnmarshalJSON(b)
	}
	if err != nil {
		d.bad(field, v.text(), "cannot be used", err.Error())
		return false
	}
	return true
}

func (d *decoder) list(field string, v value, dst reflect.Value) bool {
	items, ok := v.v.([]value)
	if !ok {
		return d.wrongType(field, v, "a list in square brackets")
	}
	out := reflect.MakeSlice(dst.Type(), 0, len(items))
	for i, item := range items {
		// One that could not be used keeps its place as the zero value, so that
		// later messages count as the file does; each skips it.
		e := reflect.New(dst.Type().Elem()).Elem()
		d.assign(fmt.Sprintf("%s[%d]", field, i), item, e)
		out = reflect.Append(out, e)
	}
	dst.Set(out)
	return true
}

// mapping merges: a key that dst already has is changed field by field.
func (d *decoder) mapping(field string, v value, dst reflect.Value) bool {
	members, ok := v.v.([]member)
	if !ok {
		return d.wrongType(field, v, "an object in braces")
	}
	if dst.IsNil() {
		dst.Set(reflect.MakeMap(dst.Type()))
	}
	for _, m := range members {
		e := reflect.New(dst.Type().Elem()).Elem()
		key := reflect.ValueOf(m.key)
		if old := dst.MapIndex(key); old.IsValid() {
			e.Set(old)
		}
		if d.assign(join(field, m.key), m.value, e) {
			dst.SetMapIndex(key, e)
		}
	}
	return true
}

func (d *decoder) structure(field string, v value, dst reflect.Value) bool {
	members, ok := v.v.([]member)
	if !ok {
		return d.wrongType(field, v, "an object in braces")
	}
	names := keys(dst.Type())
	seen := map[string]bool{}
	for _, m := range members {
		path := join(field, m.key)
		i := slices.Index(names, m.key)
		switch {
		case i < 0 || m.key == "":
			d.lines[path] = m.line
			d.bad(path, "", unknownField, unknownRemedy(m.key, names))
		case seen[m.key]:
			d.lines[path] = m.line
			d.bad(path, "", "is given twice", "remove one of them")
		default:
			seen[m.key] = true
			d.assign(path, m.value, dst.Field(i))
		}
	}
	return true
}

func unknownRemedy(key string, names []string) string {
	if n := nearest(key, names); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	known := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	return "remove it; known are " + strings.Join(known, ", ")
}

// keys returns the JSON name of each field of a struct type, "" for none.
func keys(t reflect.Type) []string {
	out := make([]string, t.NumField())
	for i := range out {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "-" {
			out[i] = name
		}
	}
	return out
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}
