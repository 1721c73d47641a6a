// Package mimetype names the content type of a mirrored file from its name alone.
//
// The table is fixed, so that every node and every release gives one answer,
// whatever the build host's own tables say. A file that the table does not know
// is application/octet-stream. A compressed file has the type of its
// compression and never a Content-Encoding: clients want the stored bytes.
package mimetype

import (
	"path"
	"strings"
)

// Default is the type of every name that the table does not know.
const Default = "application/octet-stream"

// Of returns the content type for a file name or path.
func Of(name string) string {
	base := path.Base(name)
	if ext := strings.ToLower(path.Ext(base)); ext != "" && ext != base {
		if t, ok := byExtension(ext[1:]); ok {
			return t
		}
	}
	if plainNames(base) {
		return "text/plain"
	}
	return Default
}

// plainNames says whether a file without a telling extension is text that people
// read in their browser.
func plainNames(base string) bool {
	switch base {
	case "InRelease", "Release", "README", "TIME", "TIMESTAMP", "lastsync", "lastupdate", "state",
		"MD5SUMS", "SHA1SUMS", "SHA256SUMS", "SHA512SUMS", "CHECKSUM", "COPYING", "LICENSE", "NEWS",
		"ls-lR", "last-updated", "Packages", "Sources", "treeinfo", ".treeinfo", "HEADER", "FOOTER":
		return true
	}
	return strings.HasPrefix(base, "fullfiletimelist") || strings.HasPrefix(base, "fullfilelist")
}

// byExtension is the table.
func byExtension(ext string) (string, bool) {
	switch ext {
	case "deb", "udeb", "ddeb":
		return "application/vnd.debian.binary-package", true
	case "rpm", "drpm":
		return "application/x-rpm", true
	case "iso":
		return "application/x-iso9660-image", true
	case "xz":
		return "application/x-xz", true
	case "zst", "zck":
		return "application/zstd", true
	case "gz", "tgz":
		return "application/gzip", true
	case "bz2":
		return "application/x-bzip2", true
	case "lzma":
		return "application/x-lzma", true
	case "zip":
		return "application/zip", true
	case "7z":
		return "application/x-7z-compressed", true
	case "tar":
		return "application/x-tar", true
	case "jar", "apk":
		return archiveOf(ext), true
	case "sig":
		return "application/pgp-signature", true
	case "asc":
		return "application/pgp-signature", true
	case "gpg", "pgp":
		return "application/pgp-encrypted", true
	case "torrent":
		return "application/x-bittorrent", true
	case "zsync":
		return "application/x-zsync", true
	case "jigdo":
		return "application/x-jigdo", true
	case "metalink":
		return "application/metalink+xml", true
	case "meta4":
		return "application/metalink4+xml", true
	}
	return documentOf(ext)
}

// archiveOf tells the two package kinds apart that are zip files inside.
func archiveOf(ext string) string {
	if ext == "jar" {
		return "application/java-archive"
	}
	return "application/vnd.android.package-archive"
}

// documentOf is the part of the table that browsers show.
func documentOf(ext string) (string, bool) {
	switch ext {
	case "json":
		return "application/json", true
	case "xml":
		return "application/xml", true
	case "html", "htm":
		return "text/html", true
	case "css":
		return "text/css", true
	case "js":
		return "text/javascript", true
	case "csv":
		return "text/csv", true
	case "txt", "md", "log", "list", "diff", "patch", "dsc", "changes", "buildinfo", "manifest",
		"md5", "md5sum", "sha1", "sha256", "sha256sum", "sha512", "sha512sum", "packages", "conf", "repo", "yaml", "yml":
		return "text/plain", true
	case "pdf":
		return "application/pdf", true
	case "png":
		return "image/png", true
	case "jpg", "jpeg":
		return "image/jpeg", true
	case "gif":
		return "image/gif", true
	case "svg":
		return "image/svg+xml", true
	case "webp":
		return "image/webp", true
	case "ico":
		return "image/x-icon", true
	case "mp4":
		return "video/mp4", true
	case "webm":
		return "video/webm", true
	}
	return "", false
}
