package daemon

import (
	"strings"

	"micromirror/packages/rsync/sender"
)

// unescape undoes the backslashes that a client puts before special characters
// of option arguments.
func unescape(arg string) string {
	if !strings.Contains(arg, `\`) {
		return arg
	}
	b := make([]byte, 0, len(arg))
	for i := 0; i < len(arg); i++ {
		if arg[i] == '\\' && i+1 < len(arg) {
			i++
		}
		b = append(b, arg[i])
	}
	return string(b)
}

// splitArgs parts a client's arguments at the ".": options before it, paths
// after.
func splitArgs(args []string, escaped bool) (opts, paths []string) {
	for i, a := range args {
		if escaped {
			a = unescape(a)
		}
		opts = append(opts, a)
		if a == "." {
			return opts, args[i+1:]
		}
	}
	return opts, nil
}

// expandPaths turns path arguments, which start with the module's name, into
// paths in the module: several in one argument are parted (unless secluded),
// wildcards are expanded.
func expandPaths(t *sender.Tree, module string, args []string, secluded bool) []string {
	var paths []string
	wild := sender.NewGlobber(t)
	for _, arg := range args {
		arg = strings.TrimPrefix(arg, module)
		parts := []string{arg}
		if !secluded {
			parts = strings.Split(arg, " "+module+"/")
		}
		for _, p := range parts {
			paths = append(paths, wild.Expand(sanitize(p))...)
		}
		if len(paths) > maxPaths {
			return paths[:maxPaths]
		}
	}
	return paths
}

// maxPaths bounds what wildcards can make of the arguments.
const maxPaths = 1 << 17

// sanitize makes a path relative to the module: slashes that say nothing are
// dropped and ".." goes no higher than the root. "/./" stays, which -R needs,
// and so does a slash at the end.
func sanitize(path string) string {
	var out []string
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "":
		case "..":
			if n := len(out); n > 0 {
				out = out[:n-1]
			}
		default:
			out = append(out, part)
		}
	}
	clean := strings.Join(out, "/")
	if clean != "" && strings.HasSuffix(path, "/") {
		clean += "/"
	}
	return clean
}
