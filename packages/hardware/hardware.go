// Package hardware reads hardware/<model>.json, the facts about each model of
// box, and says which kernel modules an image must carry for them and for the
// daemons.
//
// Promise: Load accepts only files whose every field is known and whose facts
// fit together, and reports all that is wrong in one error. Check compares the
// facts with the kernel that ships: each device is claimed by its driver,
// according to the modules' own alias tables, and nothing ships that nobody
// needs.
//
// Files owned: none; hardware/ is data written by people.
//
// Failure: errors name file, field, value and remedy.
package hardware

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Model is one model of box.
type Model struct {
	Model string `json:"model"` // the file's name without .json
	Title string `json:"title"`
	CPU   string `json:"cpu"`
	// Microcode is what the processor may be given before the kernel starts.
	Microcode []Firmware `json:"microcode,omitempty"`
	Devices   []Device   `json:"devices"`
	Modules   []Extra    `json:"modules,omitempty"` // wanted without a device that asks for them
	Watchdog  []Watchdog `json:"watchdog"`          // in the order in which to try them
	Console   Console    `json:"console"`
	Button    string     `json:"power_button"`
	BIOS      []Setting  `json:"bios"`
	// OnlyReal is what emulation cannot show: the checklist for the first boot
	// on the real box.
	OnlyReal []string `json:"only_real"`
	Notes    []string `json:"notes,omitempty"`
}

// Device is a device that the model has.
type Device struct {
	// ID is "pci:VVVV:DDDD", "usb:VVVV:PPPP", or a whole modalias of another
	// kind, such as "acpi:PNP0C0C:".
	ID    string `json:"id"`
	Class string `json:"class,omitempty"` // PCI class, subclass and interface, six hex digits
	Name  string `json:"name"`            // as in pci.ids
	Role  Role   `json:"role"`
	// Driver is the module that must claim the device. Without one, Unused says
	// why the device may lie idle.
	Driver   string     `json:"driver,omitempty"`
	Unused   string     `json:"unused,omitempty"`
	Optional bool       `json:"optional,omitempty"` // not in every box of the model
	Firmware []Firmware `json:"firmware,omitempty"`
}

// Role says what a device is for.
type Role string

// The roles. Storage drivers go into the initramfs, and USB's for a rescue.
const (
	Storage  Role = "storage"
	Network  Role = "network"
	USB      Role = "usb"
	SMBus    Role = "smbus"
	Sensor   Role = "sensor"
	TimerDog Role = "watchdog"
	Button   Role = "button"
	Entropy  Role = "entropy"
	Other    Role = "other"
)

// Firmware is a file that a driver may load into its device, below /lib/firmware.
type Firmware struct {
	File    string `json:"file"`
	Without string `json:"without"` // what the device does without it
}

// Extra is a module that no device's alias asks for.
type Extra struct {
	Module string `json:"module"`
	Role   Role   `json:"role"`
	Why    string `json:"why"`
}

// Watchdog is a timer that resets a box that hangs.
type Watchdog struct {
	Driver string   `json:"driver"`
	After  []string `json:"after,omitempty"` // modules to load before it
	Note   string   `json:"note,omitempty"`
}

// Console says where the kernel's messages can be read.
type Console struct {
	Screen string `json:"screen"`
	Serial string `json:"serial"`
}

// Setting is a line of the BIOS checklist.
type Setting struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Why     string `json:"why"`
}

// Load reads all models of a folder, sorted by name.
func Load(fsys fs.FS) ([]Model, error) {
	files, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("hardware: the folder has no *.json file")
	}
	var models []Model
	var errs []error
	for _, f := range files {
		b, err := fs.ReadFile(fsys, f)
		if err != nil {
			errs = append(errs, fmt.Errorf("hardware: %w", err))
			continue
		}
		m, err := Parse(f, b)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		models = append(models, m)
	}
	slices.SortFunc(models, func(a, b Model) int { return strings.Compare(a.Model, b.Model) })
	return models, errors.Join(errs...)
}

// Parse reads one model's file.
func Parse(file string, data []byte) (Model, error) {
	var m Model
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Model{}, fmt.Errorf("%s: %w", file, err)
	}
	if d.More() {
		return Model{}, fmt.Errorf("%s: something follows the model; keep one object per file", file)
	}
	v := validator{file: file}
	if want := strings.TrimSuffix(path.Base(file), ".json"); m.Model != want {
		v.bad("model", m.Model, "must be the file's name, "+want)
	}
	v.model(m)
	return m, errors.Join(v.errs...)
}
