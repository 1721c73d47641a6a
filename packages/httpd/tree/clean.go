package tree

import "strings"

// Clean turns a decoded URL path into the name below the root that it means:
// without leading slash, "." for the root, "//" and "/./" collapsed, ".."
// followed lexically as browsers do. dir says that the path ended in a slash and
// so asks for a directory. A path that climbs above the root, does not begin
// with a slash or holds a zero byte is not ok.
func Clean(urlPath string) (name string, dir, ok bool) {
	if urlPath == "" || urlPath[0] != '/' || strings.IndexByte(urlPath, 0) >= 0 {
		return "", false, false
	}
	if isClean(urlPath) {
		return finish(urlPath[1:])
	}
	var parts []string
	last := ""
	for last = range strings.SplitSeq(urlPath, "/") {
		switch last {
		case "", ".":
		case "..":
			if len(parts) == 0 {
				return "", false, false
			}
			parts = parts[:len(parts)-1]
		default:
			parts = append(parts, last)
		}
	}
	if last == "" || last == "." || last == ".." {
		parts = append(parts, "")
	}
	return finish(strings.Join(parts, "/"))
}

// isClean recognises the ordinary path, which needs no work and no memory.
func isClean(p string) bool {
	return !strings.Contains(p, "//") && !strings.Contains(p, "/.")
}

func finish(name string) (string, bool, bool) {
	name, dir := strings.CutSuffix(name, "/")
	if name == "" {
		return ".", true, true
	}
	return name, dir, true
}
