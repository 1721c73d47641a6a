package netd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"micromirror/packages/netd/uplink"
)

// flows is how many connections are remembered with the processor that serves
// them (RFS), over all queues of a port.
const flows = 32768

// pin gives each processor a queue of its own for what it sends, on ports with
// several whose driver has not done so: two that share one wait for each other.
func pin(sys string, nics []uplink.NIC, cpus int) error {
	var errs []error
	for _, n := range nics {
		queues, err := filepath.Glob(filepath.Join(sys, "class/net", n.Name, "queues/tx-*/xps_cpus"))
		if err != nil || len(queues) < 2 || slices.ContainsFunc(queues, pinned) {
			continue
		}
		for i := range queues {
			queue := filepath.Join(sys, "class/net", n.Name, "queues", fmt.Sprintf("tx-%d", i), "xps_cpus")
			errs = append(errs, put(queue, share(i, len(queues), cpus)))
		}
	}
	return errors.Join(errs...)
}

// pinned reports whether a queue belongs to some processors already, or cannot.
func pinned(file string) bool {
	b, err := os.ReadFile(file)
	return err != nil || strings.Trim(strings.TrimSpace(string(b)), "0,") != ""
}

// share names the processors of the i-th of several queues: every n-th one.
func share(i, queues, cpus int) string {
	words := make([]uint32, (cpus+31)/32)
	for cpu := i; cpu < cpus; cpu += queues {
		words[len(words)-1-cpu/32] |= 1 << (cpu % 32)
	}
	text := make([]string, len(words))
	for j, w := range words {
		text[j] = fmt.Sprintf("%x", w)
	}
	return strings.Join(text, ",")
}

// spread lets all processors share the work of ports that have fewer receive
// queues than the machine has processors; the RTL8168 has one. Ports with
// enough queues do it in hardware.
func spread(sys string, nics []uplink.NIC, cpus int) error {
	var errs []error
	for _, n := range nics {
		queues, err := filepath.Glob(filepath.Join(sys, "class/net", n.Name, "queues/rx-*"))
		if err != nil || len(queues) == 0 || len(queues) >= cpus {
			continue
		}
		for _, q := range queues {
			errs = append(errs,
				put(filepath.Join(q, "rps_cpus"), mask(cpus)),
				put(filepath.Join(q, "rps_flow_cnt"), strconv.Itoa(flows/len(queues))))
		}
	}
	return errors.Join(errs...)
}

func put(path, value string) error {
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("share the work of a port: %w", err)
	}
	return nil
}

// mask names the first n processors as the kernel wants it: hexadecimal words of
// 32 bits, the highest first.
func mask(n int) string {
	var words []string
	for ; n > 0; n -= 32 {
		words = append(words, fmt.Sprintf("%x", uint32(1<<min(n, 32)-1)))
	}
	slices.Reverse(words)
	return strings.Join(words, ",")
}

// qdisc names what orders the packets on their way out, "fq" or "mq/fq" for a
// port with several queues.
func (k *kernel) qdisc() string {
	l, err := k.h.LinkByIndex(k.index)
	if err != nil {
		return ""
	}
	list, err := k.h.QdiscList(l)
	if interrupted(err) != nil {
		return ""
	}
	var root string
	var leaves []string
	for _, q := range list {
		switch {
		case q.Attrs().Parent == netlink.HANDLE_ROOT:
			root = q.Type()
		case !slices.Contains(leaves, q.Type()):
			leaves = append(leaves, q.Type())
		}
	}
	return strings.Join(slices.Insert(leaves, 0, root), "/")
}
