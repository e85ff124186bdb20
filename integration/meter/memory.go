//go:build linux

package meter

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Memory watches how much memory groups of processes take: the kernel's high-water mark of each (VmHWM), summed over the
// processes of a group that live at one time. What several processes of one program have of its file is there once.
type Memory struct {
	groups []func() []int
	stop   chan struct{}
	done   sync.WaitGroup
	peaks  []int64
}

// Between two samples passes a twentieth of the time so far, within these bounds: looking through all processes takes ten
// milliseconds of a processor. The marks only grow, so little is missed. What wait4 tells of an ended process (ru_maxrss) is of
// no use: Linux counts in it the memory of the process that started it.
const (
	shortest = 20 * time.Millisecond
	longest  = 500 * time.Millisecond
)

// WatchMemory starts to watch. Each group is asked for its process IDs again and again until Stop.
func WatchMemory(groups ...func() []int) *Memory {
	m := &Memory{groups: groups, stop: make(chan struct{}), peaks: make([]int64, len(groups))}
	m.done.Go(m.watch)
	return m
}

func (m *Memory) watch() {
	began := time.Now()
	for {
		select {
		case <-time.After(min(max(time.Since(began)/20, shortest), longest)):
		case <-m.stop:
			return
		}
		for n, pids := range m.groups {
			m.peaks[n] = max(m.peaks[n], together(pids()))
		}
	}
}

// Stop ends the watch and returns the peak of each group in bytes; 0 where none was seen.
func (m *Memory) Stop() []int64 {
	close(m.stop)
	m.done.Wait()
	return m.peaks
}

// together is the most memory that the processes have had, in bytes.
func together(pids []int) int64 {
	var sum int64
	files := map[string]int64{} // by program
	for _, pid := range pids {
		most, file := highWater(pid)
		sum += most - file
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil { // it is gone
			continue
		}
		files[program] = max(files[program], file)
	}
	for _, file := range files {
		sum += file
	}
	return sum
}

// highWater is the most memory that a process has had, and what of it are pages of files that it shares with others; 0 when it
// is gone. Both in bytes.
func highWater(pid int) (most, file int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			most = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "RssFile: %d kB", &kib); n == 1 {
			file = kib << 10
		}
	}
	return most, file
}

// Program returns the words of a process's command line; none when it is gone.
func Program(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(raw) == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
}
