package clock

import (
	"encoding/json"
	"os"
	"time"
)

// Built returns when the image was made, as its version file says. Without an
// answer it is the zero time, before which no clock can be.
func Built(versionFile string) time.Time {
	data, err := os.ReadFile(versionFile)
	if err != nil {
		return time.Time{}
	}
	var v struct{ Built time.Time }
	if err := json.Unmarshal(data, &v); err != nil {
		return time.Time{}
	}
	return v.Built
}
