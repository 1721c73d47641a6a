package httpd

import (
	"encoding/json"
	"os"
	"time"
)

// staleHealth is the age from which a health report no longer counts: whoever
// writes it hangs.
const staleHealth = 5 * time.Minute

// HealthFile returns the source of /healthz: the health report in file, which
// counts as unhealthy while it is missing, unreadable or old, and while there is
// a file drained, by which a maintainer asks to send users elsewhere.
func HealthFile(file, drained string, now func() time.Time) func() (bool, []byte) {
	return func() (bool, []byte) {
		if _, err := os.Stat(drained); err == nil {
			return false, reason("drained by a maintainer")
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return false, reason("no health report yet")
		}
		var report struct {
			Healthy bool      `json:"healthy"`
			Time    time.Time `json:"time"`
		}
		if err := json.Unmarshal(data, &report); err != nil {
			return false, reason("health report unreadable")
		}
		if now().Sub(report.Time) > staleHealth {
			return false, reason("health report is old")
		}
		return report.Healthy, data
	}
}

func reason(s string) []byte { return []byte(`{"healthy":false,"reason":"` + s + `"}` + "\n") }
