package mimetype

import "testing"

func TestOf(t *testing.T) {
	for name, want := range map[string]string{
		"pool/a/a_1_amd64.deb":           "application/vnd.debian.binary-package",
		"Packages/b-1.x86_64.rpm":        "application/x-rpm",
		"x.ISO":                          "application/x-iso9660-image",
		"Packages.xz":                    "application/x-xz",
		"primary.xml.zst":                "application/zstd",
		"Packages.gz":                    "application/gzip",
		"core.db.sig":                    "application/pgp-signature",
		"Release.gpg":                    "application/pgp-encrypted",
		"x.torrent":                      "application/x-bittorrent",
		"x.zsync":                        "application/x-zsync",
		"x.jigdo":                        "application/x-jigdo",
		"x.metalink":                     "application/metalink+xml",
		"x.meta4":                        "application/metalink4+xml",
		"repodata/repomd.xml":            "application/xml",
		"a.json":                         "application/json",
		"index.html":                     "text/html",
		"dists/stable/InRelease":         "text/plain",
		"fullfiletimelist-epel":          "text/plain",
		"F-Droid.apk":                    "application/vnd.android.package-archive",
		"x.jar":                          "application/java-archive",
		"noextension":                    Default,
		"":                               Default,
		".html":                          Default,
		"trailing.":                      Default,
		"by-hash/SHA256/0123456789abcde": Default,
	} {
		if got := Of(name); got != want {
			t.Errorf("Of(%q) = %q, want %q", name, got, want)
		}
	}
}
