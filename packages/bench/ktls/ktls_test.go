package ktls

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/bench"
	"micromirror/packages/vm"
)

func TestRows(t *testing.T) {
	line := `{"costs":{"32 MiB":{"kernel":[3,9,4],"server":[8],"plain":[2]},"1 MiB":{"kernel":[5],"server":[5],"plain":[1]}},"aes":[1,2,2]}`
	r, err := parse([]byte("boots\r\n" + mark + line + "\r\noff\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.rows(unitOf(vm.TCG))
	if err != nil {
		t.Fatal(err)
	}
	const unit = "instructions/byte"
	want := []bench.Row{
		bench.NewRow("32 MiB", unit, 4, 8, aim), bench.NewRow("32 MiB, no TLS", unit, 2, 8, 0), bench.NewRow("32 MiB, AES alone", unit, 2, 8, 0),
		bench.NewRow("1 MiB", unit, 5, 5, aim), bench.NewRow("1 MiB, no TLS", unit, 1, 5, 0), bench.NewRow("1 MiB, AES alone", unit, 2, 5, 0),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	delete(r.Costs["1 MiB"], wayPlain)
	if _, err := r.rows(unit); err == nil || !strings.Contains(err.Error(), "1 MiB, plain") {
		t.Errorf("without some results: %v", err)
	}
}

func TestNoResults(t *testing.T) {
	for console, want := range map[string]string{
		"":                              "without results",
		"Kernel panic\n":                "without results",
		mark + `{"costs":{`:             "without results", // went off in the line
		mark + "{\n":                    "results of the virtual machine",
		mark + `{"failure":"x"}` + "\n": "in the virtual machine: x",
	} {
		if _, err := parse([]byte(console)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", console, err, want)
		}
	}
}

func TestCount(t *testing.T) {
	stat := []byte("TlsCurrTxSw                     \t1\nTlsTxSw                         \t17\n")
	if n, err := count(stat, "TlsTxSw"); n != 17 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
	if _, err := count(stat, "TlsRxSw"); err == nil {
		t.Error("a counter that is not there was found")
	}
}

func TestDriver(t *testing.T) {
	list := "name         : gcm(aes)\ndriver       : slow\npriority     : 100\n\n" +
		"name         : gcm(aes)\ndriver       : fast\npriority     : 400\n\n" +
		"name         : cbc(aes)\ndriver       : other\npriority     : 500\n"
	for algorithm, want := range map[string]string{"gcm(aes)": "fast", "cbc(aes)": "other", "none": ""} {
		if got := driver([]byte(list), algorithm); got != want {
			t.Errorf("%s: %q, want %q", algorithm, got, want)
		}
	}
}

// What the machine counts with is the point of the figures.
func TestMachine(t *testing.T) {
	c := Config{Name: "guest", Rounds: 3}
	for accel, want := range map[vm.Accel]string{
		vm.KVM: "-append console=ttyS0 quiet panic=-1 no_timer_check -- guest 3 -accel kvm -cpu host",
		vm.TCG: "-- guest 3 -accel tcg,thread=single -icount shift=0,sleep=off -cpu max,erms=off,fsrm=off",
	} {
		if got := strings.Join(c.machine(accel, "vmlinuz", "initrd"), " "); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s, want at the end %s", accel, got, want)
		}
	}
	if unitOf(vm.KVM) == unitOf(vm.TCG) {
		t.Error("times and instructions have the same unit")
	}
}

func TestAESCost(t *testing.T) {
	if cost, err := aesCost(); err != nil || cost <= 0 {
		t.Errorf("cost %v, %v", cost, err)
	}
}
