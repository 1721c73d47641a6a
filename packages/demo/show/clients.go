package show

import (
	"fmt"

	"micromirror/packages/demo"
)

// keyFile is the public key in the demo's Debian archive.
const keyFile = "demo-archive-key.asc"

// addresses words where the node is to be found. page and rsync are its URLs
// without a slash at the end.
func addresses(page, rsync string) []string {
	return []string{
		"    page    " + page + "/",
		"    status  " + page + "/status.json",
		"    rsync   " + rsync + "/",
		"Try:",
		"    curl -sI " + page + "/",
		"    rsync " + rsync + "/",
	}
}

// clients words what a project can be tried with once it is there: commands to
// paste into a shell. They write into folders of their own only.
func clients(project, page, rsync string) []string {
	switch project {
	case demo.Debian:
		return aptClient(page + "/" + demo.Debian)
	case demo.RPM:
		url := page + "/" + demo.RPM
		return []string{fmt.Sprintf("dnf --repofrompath=demo,%s --repo=demo --setopt=cachedir=/tmp/dnf-demo list --available", url)}
	case demo.Files:
		return []string{
			fmt.Sprintf("rsync -rltHv --exclude=%s %s/%s/ /tmp/demo-files/", demo.LargeFile, rsync, demo.Files),
			fmt.Sprintf("curl -r 0-1023 -so /tmp/first-KiB %s/%s/%s", page, demo.Files, demo.LargeFile),
		}
	}
	return nil
}

// aptClient makes a root for apt, so that neither root rights nor this
// computer's package lists are involved.
func aptClient(url string) []string {
	return []string{
		"R=$(mktemp -d); chmod 755 $R; mkdir -p $R/etc/apt/preferences.d $R/var/lib/dpkg $R/var/lib/apt/lists/partial $R/var/cache/apt/archives/partial; touch $R/var/lib/dpkg/status",
		fmt.Sprintf("curl -so $R/demo.asc %s/%s", url, keyFile),
		fmt.Sprintf(`echo "deb [signed-by=$R/demo.asc] %s %s main" > $R/etc/apt/sources.list`, url, demo.Suite),
		`A="-o Dir=$R -o Dir::State::status=$R/var/lib/dpkg/status -o APT::Architecture=amd64 -o APT::Sandbox::User= -o Acquire::http::Proxy=DIRECT"`,
		"apt-get $A update && (cd $R && apt-get $A download hello && ls -l)",
	}
}
