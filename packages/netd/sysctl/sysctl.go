// Package sysctl sets kernel parameters and reports what the kernel made of
// them.
//
// A parameter is set by writing its file below /proc/sys and read back: the
// kernel takes some values silently differently, and a parameter whose module
// is missing does not exist. Apply never stops at a failure; the node serves on
// with what it has, and the report says what is missing.
package sysctl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Setting is one parameter, named with slashes below /proc/sys because
// interface names may contain dots.
type Setting struct {
	Name, Value string
}

// Failure is a setting that is not in effect, and why.
type Failure struct {
	Setting
	Got string // what the kernel has instead; empty if it has no such parameter
	Err error
}

func (f Failure) String() string {
	if f.Err != nil {
		return fmt.Sprintf("%s=%s: %v", f.Name, f.Value, f.Err)
	}
	return fmt.Sprintf("%s=%s: the kernel has %q", f.Name, f.Value, f.Got)
}

// Mirror returns the parameters of a mirror server. The 128 MiB and 64 MiB
// buffers let one connection fill a gigabit to the far side of the world; the
// low not-sent mark keeps thousands of them from filling the memory.
func Mirror() []Setting {
	return []Setting{
		{"net/core/default_qdisc", "fq"},
		{"net/ipv4/tcp_congestion_control", "bbr"},
		{"net/core/rmem_max", "134217728"},
		{"net/core/wmem_max", "134217728"},
		{"net/ipv4/tcp_rmem", "4096 131072 67108864"},
		{"net/ipv4/tcp_wmem", "4096 65536 67108864"},
		{"net/ipv4/tcp_mtu_probing", "1"},
		{"net/ipv4/tcp_fastopen", "3"},
		{"net/ipv4/tcp_no_metrics_save", "1"},
		{"net/ipv4/tcp_slow_start_after_idle", "0"},
		{"net/ipv4/tcp_notsent_lowat", "1048576"},
		{"net/ipv4/tcp_syncookies", "1"},
		{"net/core/somaxconn", "4096"},
		{"net/core/netdev_max_backlog", "4096"},
		{"net/core/rps_sock_flow_entries", "32768"},
		{"net/ipv4/tcp_max_syn_backlog", "4096"},
		// A mirror is a host: it forwards nothing and believes no redirect.
		{"net/ipv4/ip_forward", "0"},
		{"net/ipv4/conf/all/accept_redirects", "0"},
		{"net/ipv4/conf/default/accept_redirects", "0"},
		{"net/ipv4/conf/all/accept_source_route", "0"},
		{"net/ipv6/conf/all/accept_redirects", "0"},
		{"net/ipv6/conf/default/accept_redirects", "0"},
		// Several ports on one network must not answer for each other.
		{"net/ipv4/conf/all/arp_ignore", "1"},
		{"net/ipv4/conf/all/arp_announce", "2"},
		// The sandbox confines TCP ports; Multipath TCP would slip through.
		{"net/mptcp/enabled", "0"},
	}
}

// Interface returns the parameters of the uplink. Router advertisements are
// read by netd itself, addresses are checked for duplicates, and a link that
// comes back announces its addresses.
func Interface(name string) []Setting {
	v4, v6 := "net/ipv4/conf/"+name+"/", "net/ipv6/conf/"+name+"/"
	return []Setting{
		{v6 + "accept_ra", "0"},
		{v6 + "autoconf", "0"},
		{v6 + "accept_redirects", "0"},
		{v6 + "use_tempaddr", "0"},
		{v6 + "accept_dad", "1"},
		{v6 + "keep_addr_on_down", "1"},
		{v6 + "ndisc_notify", "1"},
		{v4 + "accept_redirects", "0"},
		{v4 + "arp_notify", "1"},
		{v4 + "rp_filter", "0"},
		{v4 + "promote_secondaries", "1"},
		{v6 + "disable_ipv6", "0"}, // last: until here nothing was heard
	}
}

// Apply writes the settings below root (normally /proc/sys), in order, and
// returns those that are not in effect afterwards.
func Apply(root string, settings []Setting) []Failure {
	var failures []Failure
	for _, s := range settings {
		if f, ok := apply(filepath.Join(root, s.Name), s); !ok {
			failures = append(failures, f)
		}
	}
	return failures
}

func apply(path string, s Setting) (Failure, bool) {
	old, err := os.ReadFile(path)
	if err != nil {
		return Failure{Setting: s, Err: err}, false
	}
	if same(string(old), s.Value) {
		return Failure{}, true
	}
	if err := os.WriteFile(path, []byte(s.Value+"\n"), 0); err != nil {
		return Failure{Setting: s, Got: words(string(old)), Err: err}, false
	}
	got, err := os.ReadFile(path)
	if err != nil || !same(string(got), s.Value) {
		return Failure{Setting: s, Got: words(string(got)), Err: err}, false
	}
	return Failure{}, true
}

// words makes one space of what separates a parameter's values.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

func same(a, b string) bool { return words(a) == words(b) }
