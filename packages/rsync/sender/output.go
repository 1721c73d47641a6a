package sender

import (
	"hash"

	"micromirror/packages/rsync/wire"
)

// output writes the tokens of one file and sums up what they stand for.
type output struct {
	w        *wire.Writer
	sum      hash.Hash
	alive    func() // called before each write that may block
	literals int64
	matches  int64
}

// literal sends data that the client does not have.
func (o *output) literal(data []byte) {
	if len(data) == 0 {
		return
	}
	o.alive()
	o.sum.Write(data)
	o.w.Int32(int32(len(data)))
	o.w.Write(data)
	o.literals += int64(len(data))
}

// reference sends the number of a block that the client has.
func (o *output) reference(i int32, block []byte) {
	o.sum.Write(block)
	o.w.Int32(-i - 1)
	o.matches += int64(len(block))
}

// end closes the file. A file that could not be read gets a wrong sum, so that
// the client does not keep it and asks once more.
func (o *output) end(good bool) {
	o.w.Int32(0)
	sum := o.sum.Sum(nil)
	if !good {
		for i := range sum {
			sum[i] ^= 0xFF
		}
	}
	o.w.Write(sum)
}
