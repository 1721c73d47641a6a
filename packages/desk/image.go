package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"micromirror/packages/disk/image"
	"micromirror/packages/identity"
	"micromirror/packages/node"
)

// ImageOptions say which node's disk to write and where.
type ImageOptions struct {
	Fleet   Fleet
	Node    string
	Release string // folder of a built release
	Size    int64  // bytes
	Out     string
	Seed    string    // folder of mirror trees to begin with; "" for none
	Log     io.Writer // progress; nil for none
}

// Image checks the node's files and writes its disk image. If the fleet has an
// update repository or maintainers, the node gets what it trusts and a key of its
// own, whose public half replaces the one in the fleet folder.
func Image(ctx context.Context, o ImageOptions) error {
	cfg, err := o.Fleet.Read(o.Node)
	if err != nil {
		return err
	}
	set, err := o.Fleet.identity(o.Node)
	if err != nil {
		return err
	}
	if err := o.Fleet.equip(cfg, set); err != nil {
		return err
	}
	spec := image.Spec{Size: o.Size, ReleaseDir: o.Release, Identity: set}
	if o.Log != nil {
		spec.Progress = stages(o.Log)
	}
	if s, err := o.seed(ctx, cfg, o.Size); err != nil {
		return err
	} else if s != nil {
		defer s.Close()
		spec.Perm = s
	}
	if err := image.Write(ctx, o.Out, spec); err != nil {
		return err
	}
	return o.remembered(cfg, set)
}

// remembered notes the node's public keys; without them the disk is of no use.
func (o *ImageOptions) remembered(cfg *node.Config, set identity.Set) error {
	if err := o.Fleet.remember(cfg, set); err != nil {
		return fmt.Errorf("%s is written, but nothing can be encrypted to its node; write it again: %w", o.Out, err)
	}
	return nil
}

// identity collects the node's files. Secrets travel in the clear here: the disk
// is the node's.
func (f Fleet) identity(name string) (identity.Set, error) {
	set := identity.Set{}
	for key, file := range map[string]string{node.FleetFile: f.File(), node.NodeFile: f.NodeFile(name), node.SecretFile: f.SecretFile(name)} {
		data, err := os.ReadFile(file)
		if key == node.SecretFile && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		set[key] = data
	}
	return set, nil
}

// stages prints a line when a stage of the image begins and once a second in
// long ones, with what remains.
func stages(w io.Writer) func(image.Progress) {
	start, last, stage, done := time.Now(), time.Time{}, "", int64(0)
	return func(p image.Progress) {
		if p.Done < done {
			start = time.Now() // reading back begins
		}
		done = p.Done
		if p.Stage == stage && time.Since(last) < time.Second {
			return
		}
		stage, last = p.Stage, time.Now()
		line := fmt.Sprintf("image: %-8s", p.Stage)
		if p.Total > 0 && p.Done > 0 {
			left := time.Duration(float64(time.Since(start)) * float64(p.Total-p.Done) / float64(p.Done))
			line += fmt.Sprintf(" %3d %%  %v left", 100*p.Done/p.Total, left.Round(time.Second))
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

func imageCommand() *cobra.Command {
	var o ImageOptions
	var fleet, size string
	var asJSON bool
	c := &cobra.Command{
		Use:   "image --node NODE --out FILE",
		Short: "write the disk image of a node",
		Long: `Write the disk image of a node: boot loader, the release in both slots, and the
node's identity, with root.json and a fresh key of the node if the fleet has an
update repository. Copy it to an SSD of at least that size, or boot it in QEMU; the
node's storage grows to the size of the disk at the first boot.

The fleet folder keeps the newest key of each node. Of a node that runs already, with
another disk, make an image only to replace that disk: it could not read what is
encrypted to the new key, nor would its host key be known.`,
		Example: "  mirrorctl image --fleet images/demo --node demo --size 8G --out demo.img\n" +
			"  mirrorctl image --fleet fleet --node albuquerque --size 1T --seed /srv/mirror --out abq.img",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			o.Fleet, o.Log = Fleet(fleet), c.ErrOrStderr()
			if o.Size, err = ParseSize(size); err != nil {
				return fmt.Errorf("--size: %w", err)
			}
			if err := Image(c.Context(), o); err != nil {
				return err
			}
			cfg, err := o.Fleet.Read(o.Node)
			if err != nil {
				return err
			}
			key := o.Fleet.fingerprint(cfg)
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"node": o.Node, "out": o.Out, "size": o.Size, "host_key": key})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s for node %s\n%s", o.Out, size, o.Node, fingerprintText(key))
			return err
		},
	}
	fleetFlag(c, &fleet)
	c.Flags().StringVar(&o.Node, "node", "", "name of the node")
	c.Flags().StringVar(&o.Out, "out", "", "image file to write")
	c.Flags().StringVar(&o.Release, "release", "build/release", "folder of the release (make image builds it)")
	seedFlag(c, &o.Seed)
	c.Flags().StringVar(&size, "size", "8G", "size of the disk: a number with K, M, G or T (powers of 1024)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	for _, f := range []string{"node", "out"} {
		if err := c.MarkFlagRequired(f); err != nil {
			panic(err) // only for a flag that does not exist
		}
	}
	return c
}

// ParseSize reads a number of bytes with an optional suffix K, M, G or T, in
// powers of 1024.
func ParseSize(s string) (int64, error) {
	digits, shift := s, 0
	if i := strings.IndexAny(s, "KMGT"); i >= 0 && i == len(s)-1 {
		digits, shift = s[:i], 10*(1+strings.IndexByte("KMGT", s[i]))
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<(62-shift) {
		return 0, fmt.Errorf("%q is no size: give a number with K, M, G or T, for example 8G", s)
	}
	return n << shift, nil
}
