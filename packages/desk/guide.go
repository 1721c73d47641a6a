package desk

import (
	_ "embed"

	"github.com/spf13/cobra"
)

//go:embed guide/guide.md
var maintainersGuide string

//go:embed guide/host.md
var hostsPage string

// topics are texts that help shows; they do nothing.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "guide", Short: "the maintainer's guide: the first node, every day, when something went wrong", Long: maintainersGuide},
		{Use: "host", Short: "what to tell whoever hosts a box", Long: hostsPage},
	}
}
