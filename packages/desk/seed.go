package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/demand"
	"micromirror/packages/disk/image"
	"micromirror/packages/node"
	"micromirror/packages/perm"
	"micromirror/packages/seed"
)

func seedFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "seed", "", "folder of mirror trees that the disk begins with, each by its project's path or name")
}

// seed looks at the trees that a disk of size bytes is to begin with; nil if
// there are none. Whoever gets it closes it.
func (o *ImageOptions) seed(ctx context.Context, cfg *node.Config, size int64) (*seed.Seed, error) {
	if o.Seed == "" {
		return nil, nil
	}
	room, err := image.PermSize(size)
	if err != nil {
		return nil, err
	}
	if o.Log != nil {
		fmt.Fprintf(o.Log, "image: looking at %s\n", o.Seed)
	}
	s, err := seed.Open(ctx, o.Seed, cfg.Projects())
	if err != nil {
		return nil, fmt.Errorf("--seed: %w", err)
	}
	err = s.Prepare(ctx, room)
	// What fills the disk to its end leaves no room for a sync.
	if most := demand.Room(size); err == nil && s.Bytes() > most {
		err = fmt.Errorf("%w: its trees have %s, a disk of %s has room for %s", perm.ErrTooLarge, bytesText(s.Bytes()), bytesText(size), bytesText(most))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--seed: %w; take a larger disk, or fewer projects", err), s.Close())
	}
	return s, nil
}

// seedText tells what the disk begins with.
func seedText(parts []seed.Part) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "It begins with %s: %d files, %s.\n", p.Project, p.Files, bytesText(p.Bytes))
	}
	return b.String()
}
