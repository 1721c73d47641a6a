package ext4

// Need is what nodes take of a file system beside its own tables.
type Need struct{ Blocks, Inodes int64 }

// NeedOf adds up what nodes take.
func NeedOf(nodes []Node) Need {
	n := Need{Inodes: 16} // those that every file system has
	names := make([]int64, len(nodes))
	for i := range nodes {
		node := &nodes[i]
		if i == Root {
			continue
		}
		names[node.Parent] += int64(entry{name: node.Name}.size())
		if node.Same != Root {
			continue
		}
		n.Inodes++
		switch node.Mode & typeMask {
		case typeFile:
			n.Blocks += blocksOf(node.Size)
			if node.Size > inInode*maxRun*BlockSize/2 {
				n.Blocks += inInode
			}
		case typeLink:
			if len(node.Target) >= iBlockSize {
				n.Blocks++
			}
		}
	}
	for i := range nodes {
		if nodes[i].Mode&typeMask == typeDir {
			// Half as much again: e2fsck does not fill what it indexes.
			n.Blocks += 2 + names[i]/BlockSize*3/2
		}
	}
	return n
}
