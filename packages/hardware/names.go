package hardware

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// CheckNames holds the names of the models' PCI devices against pci.ids (its
// text, as Debian's package of that name has it). It answers with what differs.
func CheckNames(models []Model, pciIDs io.Reader) ([]string, error) {
	names, err := parseIDs(pciIDs)
	if err != nil {
		return nil, fmt.Errorf("pci.ids: %w", err)
	}
	var wrong []string
	for _, m := range models {
		for _, d := range m.Devices {
			id, ok := strings.CutPrefix(d.ID, "pci:")
			if !ok {
				continue
			}
			if name := names[id]; name != d.Name {
				wrong = append(wrong, fmt.Sprintf("%s: %s is %q in pci.ids, not %q", m.Model, d.ID, name, d.Name))
			}
		}
	}
	return wrong, nil
}

// parseIDs reads pci.ids: a line per vendor, below it one per device after a
// tab. The result's keys are "vvvv:dddd".
func parseIDs(r io.Reader) (map[string]string, error) {
	names := map[string]string{}
	vendor := ""
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		line := sc.Text()
		dev, isDevice := strings.CutPrefix(line, "\t")
		switch {
		case strings.HasPrefix(line, "#") || strings.HasPrefix(dev, "\t") || len(dev) < 6:
		case strings.HasPrefix(line, "C "):
			return names, nil // the classes follow
		case isDevice:
			names[vendor+":"+dev[:4]] = strings.TrimSpace(dev[4:])
		default:
			vendor = line[:4]
		}
	}
	return names, sc.Err()
}
