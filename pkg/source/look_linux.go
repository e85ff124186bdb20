package source

import (
	"io/fs"
	"syscall"
)

func lookOf(info fs.FileInfo) look {
	l := look{Size: info.Size(), MTime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		l.CTime, l.Inode = st.Ctim.Nano(), st.Ino
	}
	return l
}
