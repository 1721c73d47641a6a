package desk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"micromirror/packages/durable"
	"micromirror/packages/repository"
	"micromirror/packages/stick"
)

func (d *desk) stickCommand() *cobra.Command {
	var s site
	var out string
	c := &cobra.Command{
		Use:   "stick NODE",
		Short: "put a node's published file on a USB stick, for a host with wrong addresses",
		Long: `Write micromirror-NODE.tar, which carries the node file as it is published, with
the signatures that make the node believe it. Copy it into the top folder of any USB
stick (FAT or exFAT), or mail it to the host to do so; one stick can hold the files
of several nodes. Put into the box, it is found within seconds while no gateway
answers. The screen says what became of it: a file that is older, altered, or for
another node is refused, and addresses that do not work either are taken back.

It holds nothing secret. Correct FLEET/nodes/NODE.json and run
"mirrorctl config publish" before.`,
		Example: "  mirrorctl stick albuquerque --fleet fleet --out /media/stick",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := d.writeStick(&s, args[0], out)
			if err != nil {
				return err
			}
			return s.answer(c, map[string]string{"node": args[0], "out": file},
				fmt.Sprintf("%s: put it into the top folder of a USB stick, and that into the box\n", file))
		},
	}
	s.flags(c, false)
	c.Flags().StringVar(&out, "out", ".", "folder to write to, such as the stick's")
	return c
}

// writeStick writes the file for a node into a folder and returns its name.
func (d *desk) writeStick(s *site, name, folder string) (string, error) {
	if _, err := Fleet(s.fleet).Read(name); err != nil {
		return "", err
	}
	want, err := os.ReadFile(Fleet(s.fleet).NodeFile(name))
	if err != nil {
		return "", err
	}
	r := d.repository(s)
	got, err := r.Target(repository.NodeTarget(name))
	if err != nil || !bytes.Equal(got, want) {
		return "", fmt.Errorf(`%s is not published as it is; run "mirrorctl config publish" first`, Fleet(s.fleet).NodeFile(name))
	}
	files, err := stick.Collect(os.DirFS(r.Dir), repository.NodeTarget(name))
	if err != nil {
		return "", err
	}
	b, err := stick.Pack(files)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return "", fmt.Errorf("--out %s: is no folder: mount the stick and give the folder that it is mounted on", folder)
	}
	file := filepath.Join(folder, stick.FileName(name))
	return file, durable.WriteFile(file, b, 0o644)
}
