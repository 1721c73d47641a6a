package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"micromirror/packages/disk"
	"micromirror/packages/disk/image"
	"micromirror/packages/flash"
	"micromirror/packages/perm"
	"micromirror/packages/release"
	"micromirror/packages/rescue"
)

// rescueForm is what rescue is told.
type rescueForm struct {
	node, release, out, yes string
}

// rescueAnswer is what rescue says when it is done.
type rescueAnswer struct {
	Node     string      `json:"node"`
	Release  string      `json:"release"`
	Disk     *flash.Disk `json:"disk"`
	Verified bool        `json:"verified"`
}

func (d *desk) rescueCommand() *cobra.Command {
	var s site
	var form rescueForm
	c := &cobra.Command{
		Use:   "rescue --node NODE --out STICK",
		Short: "make a USB stick that repairs a box which does not start any more",
		Long: `Write a USB stick of 4 GB or more, from which a box writes its own disk anew: boot
loader, both slots, and the partition table if it is damaged. The node stays what it
is: its key, account and certificate, its files and its mirror are not touched.

The host puts the stick into the box and switches it on. Nobody has to type: the
firmware starts a stick by itself (see the checklist in hardware/MODEL.json), the
screen says how far it is, and when to pull the stick out; the box then starts from
its own disk. What is no disk of this node is never written: then nothing happens,
and the screen says what was found. It can be interrupted, and done again.

The stick holds nothing secret, and is for this node only. It is shown, and the
node's name asked for, before it is written, and read back afterwards; what is no
removable disk, is mounted or otherwise in use is refused. Interrupted, it starts
nothing; the same command writes it again. STICK may be a file, to copy or mail.

For a disk that is broken write another one with "mirrorctl flash".`,
		Example: "  mirrorctl rescue --node albuquerque --fleet fleet --out /dev/sdX\n" +
			"  mirrorctl rescue --node albuquerque --fleet fleet --release build/release --out stick.img --yes albuquerque",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := d.rescue(c, Fleet(s.fleet), form)
			if err != nil {
				return err
			}
			return s.answer(c, a, fmt.Sprintf("%s: written and read back; next: it goes into the box of %s, which is then switched on\n", form.out, a.Node))
		},
	}
	fleetFlag(c, &s.fleet)
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	c.Flags().StringVar(&form.node, "node", "", "name of the node")
	c.Flags().StringVar(&form.out, "out", "", "device node of the stick, or a file to write")
	c.Flags().StringVar(&form.release, "release", "build/release", "folder of the release that the box is to get")
	c.Flags().StringVar(&form.yes, "yes", "", "the node's name once more, instead of being asked for it")
	for _, f := range []string{"node", "out"} {
		if err := c.MarkFlagRequired(f); err != nil {
			panic(err) // only for a flag that does not exist
		}
	}
	return c
}

func (d *desk) rescue(c *cobra.Command, fleet Fleet, form rescueForm) (*rescueAnswer, error) {
	if _, err := fleet.Read(form.node); err != nil {
		return nil, err
	}
	stick, err := d.rescueTarget(form.out)
	if err != nil {
		return nil, err
	}
	spec, err := rescueSpec(c.Context(), form)
	if err != nil {
		return nil, err
	}
	if stick.Model == fileModel {
		spec.Size = stick.Size
	}
	spec.Progress = stages(c.ErrOrStderr())
	fmt.Fprint(c.ErrOrStderr(), diskText(stick))
	if err := d.confirm(c, "overwrite "+form.out+" for it", form.node, form.yes); err != nil {
		return nil, err
	}
	if err := writeDisk(c.Context(), form.out, spec.Spec); err != nil {
		return nil, err
	}
	return &rescueAnswer{Node: form.node, Release: spec.version, Disk: stick, Verified: true}, nil
}

// rescueTarget is the stick to write, if it may be written.
func (d *desk) rescueTarget(path string) (*flash.Disk, error) {
	device, err := flash.IsDevice(path)
	if err != nil {
		return nil, err
	}
	if !device {
		return &flash.Disk{Path: path, Model: fileModel, Size: disk.MinSize}, nil
	}
	stick, err := d.removable(path)
	if err != nil {
		return nil, err
	}
	return stick, stick.Refuse()
}

// rescueImage is what a stick is written from.
type rescueImage struct {
	image.Spec
	version string
}

// rescueSpec makes what the box will get.
func rescueSpec(ctx context.Context, form rescueForm) (*rescueImage, error) {
	r, err := release.Read(form.release)
	if err != nil {
		return nil, err
	}
	if !r.Rescue {
		return nil, fmt.Errorf("release %s in %s is from before there were rescue sticks: take a newer one, mirrorctl release --build makes it", r.Version, form.release)
	}
	guid := disk.NewGUID() // the box's own takes its place
	boot, err := image.BootFiles(ctx, form.release, guid)
	if err != nil {
		return nil, err
	}
	set, err := rescue.Manifest{Node: form.node, Release: r.Version, GUID: guid.String(),
		Boot: rescue.Describe(boot), Root: rescue.Part{Size: r.Root.Size, SHA256: r.Root.SHA256}}.Set()
	if err != nil {
		return nil, err
	}
	return &rescueImage{version: r.Version, Spec: image.Spec{ReleaseDir: form.release, Identity: set, Perm: payload(boot),
		Arguments: rescue.Argument + "=" + form.node}}, nil
}

// payload lies on a stick where a node has /perm. It is an image.Storage.
type payload []byte

func (p payload) Size() int64 { return int64(len(p)) }

func (p payload) Write(_ context.Context, t perm.Target, _ int64) error {
	if _, err := t.WriteAt(p, 0); err != nil {
		return err
	}
	return t.Sync()
}

func (p payload) Verify(_ context.Context, r io.ReaderAt, read func(n int64) error) error {
	got := make([]byte, len(p))
	if n, err := r.ReadAt(got, 0); n < len(got) {
		return err
	}
	if !bytes.Equal(got, p) {
		return errors.New("the box's boot files are not what was written")
	}
	return read(int64(len(p)))
}
