package answer

import (
	"path"
	"strings"
)

// The three ways a response may be kept by caches between node and client.
const (
	revalidate = "no-cache"                            // ask each time: metadata
	longLived  = "public, max-age=2592000"             // named by version: packages, images
	immutable  = "public, max-age=31536000, immutable" // named by content
)

// cacheControl tells metadata, which changes under its name, from packages.
func cacheControl(name string) string {
	if strings.Contains(name, "/by-hash/") {
		return immutable
	}
	base := path.Base(name)
	if strings.Contains(name, "/repodata/") && len(base) > 64 && base[64] == '-' {
		return immutable
	}
	switch path.Ext(base) {
	case ".deb", ".udeb", ".rpm", ".drpm", ".iso", ".apk":
		return longLived
	}
	if strings.Contains(base, ".pkg.tar.") || strings.Contains(base, ".orig.tar.") || strings.Contains(base, ".debian.tar.") {
		return longLived
	}
	return revalidate
}
