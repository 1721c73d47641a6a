package desk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"micromirror/packages/disk"
	"micromirror/packages/disk/image"
	"micromirror/packages/flash"
	"micromirror/packages/identity"
	"micromirror/packages/node"
	"micromirror/packages/seed"
)

// flashForm is what flash is told.
type flashForm struct {
	image ImageOptions
	size  string
	yes   string
	any   bool // although the projects do not fit
	keep  bool
}

// flashAnswer is what flash says when it is done.
type flashAnswer struct {
	Node     string      `json:"node"`
	Disk     *flash.Disk `json:"disk"`
	Seeded   []seed.Part `json:"seeded,omitempty"`
	Kept     bool        `json:"kept_identity"`
	Verified bool        `json:"verified"`
	HostKey  string      `json:"host_key,omitempty"` // its fingerprint
}

func (d *desk) flashCommand() *cobra.Command {
	var s site
	var form flashForm
	c := &cobra.Command{
		Use:   "flash --node NODE --disk DISK",
		Short: "write a node's disk, and read it back",
		Long: `Write a node's disk: boot loader, the release in both slots, the node's identity,
with fresh GUIDs and, if the fleet has an update repository, a fresh key of the
node. Everything is read back and compared. The disk that carries this computer's
system, one that is mounted or otherwise in use, and one that is too small for a
node or for its projects are refused. It shows the disk and asks for the node's
name before it writes.

It can be interrupted at any moment: the disk then boots nothing, and the same
command writes it again. With --keep-identity the box's own key, account and
certificate are taken over from what the disk holds now: for a box whose system
is to be written anew. DISK may be a file, for QEMU; --size is needed then.

With --seed the disk begins with mirror trees that you have already, at the speed
of disks: a folder that holds each project's tree by its path or name, such as
another mirror's web root. The node serves them after its first sync, which fetches
only what differs. Do not let them change while they are copied.`,
		Example: "  mirrorctl flash --fleet fleet --node albuquerque --disk /dev/disk/by-id/ata-Samsung_SSD_870\n" +
			"  mirrorctl flash --fleet fleet --node albuquerque --disk abq.img --size 8G --any-size --yes albuquerque\n" +
			"  mirrorctl flash --fleet fleet --node albuquerque --disk /dev/sdX --seed /srv/mirror",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			form.image.Fleet, form.image.Log = Fleet(s.fleet), c.ErrOrStderr()
			a, err := d.flash(c, &form)
			if err != nil {
				return err
			}
			return s.answer(c, a, fmt.Sprintf("%s: written for %s and read back; next: put it into the box, and the page of \"mirrorctl card %[2]s\" into the parcel\n", form.image.Out, a.Node)+fingerprintText(a.HostKey))
		},
	}
	fleetFlag(c, &s.fleet)
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	c.Flags().StringVar(&form.image.Node, "node", "", "name of the node")
	c.Flags().StringVar(&form.image.Out, "disk", "", "device node of the disk, or a file to write")
	c.Flags().StringVar(&form.image.Release, "release", "build/release", "folder of the release")
	seedFlag(c, &form.image.Seed)
	c.Flags().StringVar(&form.size, "size", "", "size of a file, such as 8G; a disk has its own")
	c.Flags().StringVar(&form.yes, "yes", "", "the node's name once more, instead of being asked for it")
	c.Flags().BoolVar(&form.any, "any-size", false, "write although the node's projects do not fit")
	c.Flags().BoolVar(&form.keep, "keep-identity", false, "keep the key, account and certificate that the disk holds for this node")
	for _, f := range []string{"node", "disk"} {
		if err := c.MarkFlagRequired(f); err != nil {
			panic(err) // only for a flag that does not exist
		}
	}
	return c
}

func (d *desk) flash(c *cobra.Command, form *flashForm) (*flashAnswer, error) {
	o := &form.image
	cfg, err := o.Fleet.Read(o.Node)
	if err != nil {
		return nil, err
	}
	target, err := d.target(form)
	if err != nil {
		return nil, err
	}
	if err := fits(cfg, target.Size); err != nil && !form.any {
		return nil, fmt.Errorf("%s: %w; or give --any-size", o.Node, err)
	}
	set, err := o.files(cfg, form.keep)
	if err != nil {
		return nil, err
	}
	spec := image.Spec{Size: target.Size, ReleaseDir: o.Release, Identity: set, Progress: stages(o.Log)}
	a := &flashAnswer{Node: o.Node, Disk: target, Kept: form.keep, Verified: true}
	if s, err := o.seed(c.Context(), cfg, target.Size); err != nil {
		return nil, err
	} else if s != nil {
		defer s.Close()
		spec.Perm, a.Seeded = s, s.Parts
	}
	fmt.Fprint(c.ErrOrStderr(), diskText(target)+seedText(a.Seeded))
	if err := d.confirm(c, "overwrite "+target.Path+" for it", o.Node, form.yes); err != nil {
		return nil, err
	}
	if err := writeDisk(c.Context(), o.Out, spec); err != nil {
		return nil, err
	}
	err = o.remembered(cfg, set)
	a.HostKey = o.Fleet.fingerprint(cfg)
	return a, err
}

// target is the disk to write, if it may be written.
func (d *desk) target(form *flashForm) (*flash.Disk, error) {
	path := form.image.Out
	device, err := flash.IsDevice(path)
	if err != nil {
		return nil, err
	}
	if device {
		disk, err := d.machine.Look(path)
		if err != nil {
			return nil, err
		}
		if form.size != "" {
			return nil, fmt.Errorf("--size: %s has its own size; leave it out", path)
		}
		return disk, disk.Refuse()
	}
	size, err := ParseSize(form.size)
	if err != nil {
		return nil, fmt.Errorf("--size: %w (%s is no disk, and a file needs a size)", err, path)
	}
	file := &flash.Disk{Path: path, Model: fileModel, Size: size}
	return file, file.Refuse()
}

// fileModel is what a file is called that takes the place of a disk.
const fileModel = "file"

// diskText shows the disk to whoever is about to overwrite it.
func diskText(k *flash.Disk) string {
	text := fmt.Sprintf("%s: %s, %s", k.Path, bytesText(k.Size), cmp.Or(k.Model, "no model named"))
	if k.Serial != "" {
		text += ", serial " + k.Serial
	}
	if k.Removable {
		text += ", removable"
	}
	return text + "\nEverything on it will be lost.\n"
}

// files is what makes the node itself; with keep, what only the disk has is taken
// from there.
func (o *ImageOptions) files(cfg *node.Config, keep bool) (identity.Set, error) {
	set, err := o.Fleet.identity(o.Node)
	if err != nil {
		return nil, err
	}
	if err := o.Fleet.equip(cfg, set); err != nil || !keep {
		return set, err
	}
	old, err := identityOn(o.Out)
	if err != nil {
		return nil, fmt.Errorf("--keep-identity: %s: %w; without it the node gets a new key", o.Out, err)
	}
	if err := sameNode(old, set); err != nil {
		return nil, fmt.Errorf("--keep-identity: %s: %w", o.Out, err)
	}
	for name, data := range old {
		if _, ok := set[name]; !ok || name == node.KeyFile {
			set[name] = data
		}
	}
	return set, nil
}

// identityOn reads the second copy of what made the disk's node itself.
func identityOn(path string) (identity.Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := disk.Size(f)
	if err != nil {
		return nil, err
	}
	t, err := disk.Read(f, size)
	if err != nil {
		// A flash that was cut off took the table first, and leaves what is here.
		if t, err = disk.New(size); err != nil {
			return nil, err
		}
	}
	p := t.Part(disk.Identity)
	return identity.Read(io.NewSectionReader(f, p.Offset(), p.Size()))
}

// sameNode refuses to give a node what belongs to another.
func sameNode(old, now identity.Set) error {
	var names [2]struct{ Name string }
	for i, set := range []identity.Set{old, now} {
		if err := json.Unmarshal(bytes.TrimSpace(set[node.NodeFile]), &names[i]); err != nil {
			return fmt.Errorf("%s: %w", node.NodeFile, err)
		}
	}
	if names[0] != names[1] {
		return fmt.Errorf("is the disk of node %q, not of %q", names[0].Name, names[1].Name)
	}
	return nil
}

func writeDisk(ctx context.Context, out string, spec image.Spec) error {
	err := flash.Write(ctx, out, spec)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w; run it as root", err)
	}
	return err
}
