package byterange

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const big = 5 << 30
	for _, test := range []struct {
		name, header string
		size         int64
		want         []Range
		err          error
	}{
		{name: "first byte", header: "bytes=0-0", size: 10, want: []Range{{0, 1}}},
		{name: "open end", header: "bytes=4-", size: 10, want: []Range{{4, 6}}},
		{name: "suffix", header: "bytes=-3", size: 10, want: []Range{{7, 3}}},
		{name: "suffix larger than the file", header: "bytes=-30", size: 10, want: []Range{{0, 10}}},
		{name: "end beyond the file", header: "bytes=8-99", size: 10, want: []Range{{8, 2}}},
		{name: "two", header: "bytes=0-1, 5-6", size: 10, want: []Range{{0, 2}, {5, 2}}},
		{name: "one of two overlaps", header: "bytes=0-1,50-60", size: 10, want: []Range{{0, 2}}},
		{name: "empty elements", header: "bytes=,0-1,,", size: 10, want: []Range{{0, 2}}},
		{name: "across 2 GiB", header: "bytes=2147483647-2147483649", size: big, want: []Range{{2147483647, 3}}},
		{name: "across 4 GiB", header: "bytes=4294967295-4294967296", size: big, want: []Range{{4294967295, 2}}},
		{name: "unit in capitals", header: "BYTES=1-1", size: 10, want: []Range{{1, 1}}},
		{name: "number beyond int64", header: "bytes=0-99999999999999999999", size: 10, want: []Range{{0, 10}}},
		{name: "start beyond the file", header: "bytes=10-", size: 10, err: ErrUnsatisfiable},
		{name: "suffix of nothing", header: "bytes=-0", size: 10, err: ErrUnsatisfiable},
		{name: "empty file", header: "bytes=0-", size: 0, err: ErrUnsatisfiable},
		{name: "no header", header: "", size: 10},
		{name: "another unit", header: "lines=0-1", size: 10},
		{name: "reversed", header: "bytes=5-4", size: 10},
		{name: "letters", header: "bytes=a-b", size: 10},
		{name: "sign", header: "bytes=+1-2", size: 10},
		{name: "no dash", header: "bytes=5", size: 10},
		{name: "more than the file", header: "bytes=0-,0-", size: 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(test.header, test.size)
			if !errors.Is(err, test.err) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestContentRange(t *testing.T) {
	if got, want := (Range{1, 4}).ContentRange(10), "bytes 1-4/10"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("bytes=0-1,-5,7-", int64(100))
	f.Add("bytes=9223372036854775807-9223372036854775807", int64(1)<<62)
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		ranges, err := Parse(header, size)
		if err != nil && len(ranges) > 0 {
			t.Fatal("ranges and an error")
		}
		var total int64
		for _, r := range ranges {
			if r.Start < 0 || r.Length <= 0 || r.Start > size-r.Length {
				t.Fatalf("%+v outside of %d bytes", r, size)
			}
			total += r.Length
		}
		if total > size || len(ranges) > MaxRanges {
			t.Fatalf("%d ranges with %d bytes of %d", len(ranges), total, size)
		}
	})
}
