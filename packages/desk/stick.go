package desk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"micromirror/packages/durable"
	"micromirror/packages/flash"
	"micromirror/packages/repository"
	"micromirror/packages/stick"
)

func (d *desk) stickCommand() *cobra.Command {
	var s site
	var out, yes string
	c := &cobra.Command{
		Use:   "stick NODE",
		Short: "put a node's published file on a USB stick, for a host with wrong addresses",
		Long: `Write micromirror-NODE.tar, which carries the node file as it is published, with
the signatures that make the node believe it. Copy it into the top folder of any USB
stick (FAT or exFAT), or mail it to the host to do so; one stick can hold the files
of several nodes. Put into the box, it is found within seconds while no gateway
answers. The screen says what became of it: a file that is older, altered, or for
another node is refused, and addresses that do not work either are taken back.

With the device node of a stick as DIR, such as /dev/sdX, the whole stick is written
anew, and read back. It is shown first, and the node's name asked for; what is no
removable disk, is mounted or otherwise in use is refused.

It holds nothing secret. Correct FLEET/nodes/NODE.json and run
"mirrorctl config publish" before.`,
		Example: "  mirrorctl stick albuquerque --fleet fleet --out /media/stick\n" +
			"  mirrorctl stick albuquerque --fleet fleet --out /dev/sdX",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := d.packStick(&s, args[0])
			if err != nil {
				return err
			}
			device, err := flash.IsDevice(out)
			if err != nil {
				return err
			}
			if device {
				if err := d.writeStick(c, args[0], out, yes, b); err != nil {
					return err
				}
				return s.answer(c, map[string]string{"node": args[0], "out": out},
					fmt.Sprintf("%s: written and read back; put it into the box\n", out))
			}
			if info, err := os.Stat(out); err != nil || !info.IsDir() {
				return fmt.Errorf("--out %s: is no folder: mount the stick and give the folder that it is mounted on, or its device node", out)
			}
			file := filepath.Join(out, stick.FileName(args[0]))
			if err := durable.WriteFile(file, b, 0o644); err != nil {
				return err
			}
			return s.answer(c, map[string]string{"node": args[0], "out": file},
				fmt.Sprintf("%s: put it into the top folder of a USB stick, and that into the box\n", file))
		},
	}
	s.flags(c, false)
	c.Flags().StringVar(&out, "out", ".", "folder to write to, such as the stick's, or the stick's device node")
	c.Flags().StringVar(&yes, "yes", "", "the node's name once more, instead of being asked for it before a device is written")
	return c
}

// packStick makes the file for a node.
func (d *desk) packStick(s *site, name string) ([]byte, error) {
	if _, err := Fleet(s.fleet).Read(name); err != nil {
		return nil, err
	}
	want, err := os.ReadFile(Fleet(s.fleet).NodeFile(name))
	if err != nil {
		return nil, err
	}
	r := d.repository(s)
	got, err := r.Target(repository.NodeTarget(name))
	if err != nil || !bytes.Equal(got, want) {
		return nil, fmt.Errorf(`%s is not published as it is; run "mirrorctl config publish" first`, Fleet(s.fleet).NodeFile(name))
	}
	files, err := stick.Collect(os.DirFS(r.Dir), repository.NodeTarget(name))
	if err != nil {
		return nil, err
	}
	return stick.Pack(files)
}

// writeStick makes a whole stick of a node's file, if the disk is one and may be
// written.
func (d *desk) writeStick(c *cobra.Command, name, path, yes string, file []byte) error {
	disk, err := d.removable(path)
	if err != nil {
		return err
	}
	image, err := stick.Image(name, file)
	if err != nil {
		return err
	}
	fmt.Fprint(c.ErrOrStderr(), diskText(disk))
	if err := d.confirm(c, "overwrite "+path+" for it", name, yes); err != nil {
		return err
	}
	return flash.WriteSmall(path, image)
}

// removable looks at a stick, and refuses what is none or is in use.
func (d *desk) removable(path string) (*flash.Disk, error) {
	disk, err := d.machine.Look(path)
	if err != nil {
		return nil, err
	}
	if err := disk.Taken(); err != nil {
		return nil, err
	}
	if !disk.Removable {
		return nil, fmt.Errorf("--out %s: is no stick but a disk that stays (%s); give a stick's device node", path, disk.Model)
	}
	return disk, nil
}
