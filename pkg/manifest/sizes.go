package manifest

// blobsOf lists what must be staged for the images that are to be loaded: their layers, the config, and the manifest where
// it is the source's own. A composed manifest is made when all sizes are known and is not listed.
func blobsOf(images []ImagePlan, inv Inventory) []BlobPlan {
	staged := map[Digest]Staged{}
	for _, s := range inv.Staged {
		staged[s.Digest] = s
	}
	seen := map[Digest]bool{}
	var blobs []BlobPlan
	for _, i := range images {
		for _, b := range i.Needs() {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				b.Staged = staged[b.Digest].Chunks
				blobs = append(blobs, b)
			}
		}
	}
	return blobs
}

func sizesOf(p Plan) Sizes {
	var s Sizes
	for _, b := range p.Blobs {
		size := b.Size
		if size == UnknownSize {
			s.Unknown++
			size = b.Unpacked
		}
		staged := stagedBytes(size, b.Staged)
		s.Staged += staged
		s.Send += size - staged
		s.Stage += size - staged
	}
	present := map[Digest]bool{}
	for _, i := range p.Images {
		for n, l := range i.Image.Layers {
			kept := i.Action != ActionLoad || i.Layers[n].Present
			if kept && !present[l.DiffID] {
				present[l.DiffID] = true
				s.Present += known(l)
			}
			if !kept {
				s.Engine += roomFor(p.Store, l)
			}
		}
	}
	return s
}

func known(l Layer) int64 {
	if l.Size == UnknownSize {
		return l.Unpacked
	}
	return l.Size
}

func stagedBytes(size int64, chunks []int) int64 {
	var n int64
	for _, c := range chunks {
		n += max(0, ChunkLen(size, c))
	}
	return n
}

// roomFor is what an engine needs to take l: a graphdriver store unpacks the archive beside its data before it unpacks the
// layer, a containerd store keeps the blob and its snapshot. Of a compressed layer only the compressed size is certain.
func roomFor(s Store, l Layer) int64 {
	size := known(l)
	unpacked := max(size, l.Unpacked)
	return size + unpacked
}

// checkSpace fails with KindSpace when the room on the host is known to be too small.
func checkSpace(s Sizes, inv Inventory) error {
	if inv.Repository != nil {
		if err := short("the stage beside the repository", inv.Repository.Stage, s.Models); err != nil {
			return err
		}
	}
	needStage, needEngine := s.Stage, s.Engine
	if inv.Stage.Device == inv.Data.Device && inv.Stage.Device != 0 {
		needStage += needEngine
		needEngine = 0
	}
	if err := short("stage", inv.Stage, needStage); err != nil {
		return err
	}
	return short("engine", inv.Data, needEngine)
}

func short(what string, room Space, need int64) error {
	switch {
	case need == 0 || room.Path == "":
		return nil
	case room.Free != UnknownSize && room.Free < need:
		return Fail(KindSpace, "check space", "%s needs %s on the host, %s are free there (%s)", what, FormatBytes(need), FormatBytes(room.Free), room.Path).
			Advise("free some space there; docker system df and clara-push clean show what could go")
	case room.Inodes == 0:
		return Fail(KindSpace, "check space", "no inodes are free on the host (%s)", room.Path).Advise("delete files there")
	}
	return nil
}
