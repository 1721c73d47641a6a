package project

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes, or of bytes a second. In JSON it is a number or a
// string with a binary unit as rsync's --bwlimit has them: "25M", "1.5T".
type Size int64

const units = "KMGTP"

// ParseSize reads a size; the largest is 2^62.
func ParseSize(s string) (Size, error) {
	num, mul := s, float64(1)
	if n := len(s); n > 0 {
		if i := strings.IndexByte(units, s[n-1]&^0x20); i >= 0 {
			num = s[:n-1]
			mul = float64(int64(1) << (10 * (i + 1)))
		}
	}
	if num == "" || strings.Trim(num, "0123456789.") != "" {
		return 0, fmt.Errorf("size %q: want a number and a unit of %s", s, units)
	}
	if n, err := strconv.ParseInt(num, 10, 62); err == nil && mul == 1 {
		return Size(n), nil
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || f*mul >= 1<<62 {
		return 0, fmt.Errorf("size %q: not a number below 4096P", s)
	}
	return Size(f * mul), nil
}

// String returns the shortest exact form.
func (s Size) String() string {
	unit := ""
	for i := 0; i < len(units) && s != 0 && s%1024 == 0; i++ {
		s /= 1024
		unit = units[i : i+1]
	}
	return strconv.FormatInt(int64(s), 10) + unit
}

// MarshalJSON writes plain bytes as a number, multiples with their unit.
func (s Size) MarshalJSON() ([]byte, error) {
	if t := s.String(); strings.Trim(t, "0123456789") != "" {
		return json.Marshal(t)
	}
	return strconv.AppendInt(nil, int64(s), 10), nil
}

// UnmarshalJSON reads both forms.
func (s *Size) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	v, err := ParseSize(text)
	if err != nil {
		return err
	}
	*s = v
	return nil
}
