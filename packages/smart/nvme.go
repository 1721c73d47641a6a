package smart

import (
	"encoding/binary"
	"fmt"
)

// nvmePort reads a controller's data.
type nvmePort interface {
	identify() ([]byte, error) // 4096 bytes: Identify Controller
	health() ([]byte, error)   // 512 bytes: SMART / Health Information
}

// critical are the bits of the critical warning.
var critical = [...]string{
	"spare blocks are running out",
	"", // temperature: said elsewhere
	"too many errors: it is not reliable any more",
	"it has made itself read-only",
	"its backup power for the cache has failed",
	"its persistent memory is read-only",
}

func readNVMe(d nvmePort) (Health, error) {
	h := unknown()
	id, err := d.identify()
	if err != nil {
		return h, err
	}
	if len(id) >= 64 {
		h.Serial, h.Model = text(id[4:24]), text(id[24:64])
	}
	log, err := d.health()
	if err != nil {
		return h, err
	}
	return h, healthLog(log, &h)
}

func healthLog(log []byte, h *Health) error {
	if len(log) < 512 {
		return fmt.Errorf("health log has %d bytes, not 512", len(log))
	}
	for bit, why := range critical {
		if log[0]&(1<<bit) != 0 && why != "" {
			h.Failing = true
			h.Why = append(h.Why, why)
		}
	}
	const zero = 273 // 0 °C in kelvin
	if kelvin := int(binary.LittleEndian.Uint16(log[1:])); kelvin >= zero {
		h.Celsius = kelvin - zero
	}
	h.Worn = int(log[5])
	h.Hours, h.Unreadable = count(log[128:]), count(log[160:])
	return nil
}

// count reads the lower half of a 128-bit counter.
func count(b []byte) int64 {
	return int64(min(binary.LittleEndian.Uint64(b), 1<<62))
}
