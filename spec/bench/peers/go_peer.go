// go_peer.go: what Go takes for the figures of spec/bench.
//
//	go_peer switch N | spawn batches|once | memory
//	    | queue store|stream|ping-pong | event | sleepers
//
// Prints one number, in the unit of the figure. One thread runs all the goroutines, as the
// other systems have it.
package main

import (
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// CPU time of fn, in so many units a second, divided by n.
func cpu(n int, unit float64, fn func()) float64 {
	start := cpuSeconds()
	fn()
	return (cpuSeconds() - start) * unit / float64(n)
}

// Runs the functions as goroutines until all have returned.
func join(fns ...func()) {
	var group sync.WaitGroup
	group.Add(len(fns))
	for _, fn := range fns {
		go func(fn func()) {
			fn()
			group.Done()
		}(fn)
	}
	group.Wait()
}

func switches(n int) float64 {
	turns := 5000000 / n
	fns := make([]func(), n)
	for i := range fns {
		fns[i] = func() {
			for t := 0; t < turns; t++ {
				runtime.Gosched()
			}
		}
	}
	return cpu(n*turns, 1e9, func() { join(fns...) })
}

func spawn(how string) float64 {
	const total = 1000000
	batch := total
	if how == "batches" {
		batch = 1000
	}
	return cpu(total, 1e9, func() {
		for i := 0; i < total/batch; i++ {
			var group sync.WaitGroup
			group.Add(batch)
			for j := 0; j < batch; j++ {
				go group.Done()
			}
			group.Wait()
		}
	})
}

func rss() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return float64(pages * os.Getpagesize())
}

func memory() float64 {
	const n = 1000000
	before := rss()
	for i := 0; i < n; i++ {
		go time.Sleep(time.Hour)
	}
	runtime.Gosched()
	return (rss() - before) / n
}

func queue(how string) float64 {
	const n = 2000000
	switch how {
	case "store":
		q := make(chan int, 1024)
		return cpu(n, 1e9, func() {
			for i := 0; i < n; i++ {
				q <- i
				<-q
			}
		})
	case "stream":
		q := make(chan int, 128)
		return cpu(n, 1e9, func() {
			join(func() {
				for i := 0; i < n; i++ {
					q <- i
				}
			}, func() {
				for i := 0; i < n; i++ {
					<-q
				}
			})
		})
	}
	there, back := make(chan int, 1), make(chan int, 1)
	return cpu(n, 1e9, func() {
		join(func() {
			for i := 0; i < n/2; i++ {
				back <- <-there
			}
		}, func() {
			for i := 0; i < n/2; i++ {
				there <- i
				<-back
			}
		})
	})
}

func event() float64 {
	const n = 100000
	set := make(chan struct{})
	var group sync.WaitGroup
	group.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			<-set
			group.Done()
		}()
	}
	time.Sleep(100 * time.Millisecond) // until all of them wait
	return cpu(1, 1e3, func() {
		close(set)
		group.Wait()
	})
}

func sleepers() float64 {
	fns := make([]func(), 200000)
	for i := range fns {
		d := time.Duration(rand.Float64() * float64(time.Second))
		fns[i] = func() { time.Sleep(d) }
	}
	return cpu(1, 1, func() { join(fns...) })
}

func main() {
	runtime.GOMAXPROCS(1)
	arg := ""
	if len(os.Args) > 2 {
		arg = os.Args[2]
	}
	var number float64
	switch os.Args[1] {
	case "switch":
		n, _ := strconv.Atoi(arg)
		number = switches(n)
	case "spawn":
		number = spawn(arg)
	case "memory":
		number = memory()
	case "queue":
		number = queue(arg)
	case "event":
		number = event()
	case "sleepers":
		number = sleepers()
	}
	fmt.Println(number)
}
