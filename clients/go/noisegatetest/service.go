// Package noisegatetest runs a real noisegate for a test.
//
//	func TestTable(t *testing.T) {
//		client, err := noisegate.Connect(noisegatetest.Start(t))
//		...
//	}
package noisegatetest

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	ready       = "noisegate listening on "
	startWithin = 20 * time.Second
	stopWithin  = 10 * time.Second
)

// Start runs `noisegate serve --dev` on a free port of this machine until the test and its subtests are over, and gives its
// address, HOST:PORT. Keys are made at the start and lost at the end. More arguments of `noisegate serve` may follow.
//
// The command is `noisegate` on the PATH (pip install noisegate-server), or what NOISEGATE_COMMAND names. Where it does not
// come up, the test fails with its log.
func Start(t testing.TB, arguments ...string) string {
	t.Helper()
	name := os.Getenv("NOISEGATE_COMMAND")
	if name == "" {
		name = "noisegate"
	}
	command := exec.Command(name, append([]string{"serve", "--dev", "--listen", "127.0.0.1:0", "--drain", "0"}, arguments...)...)
	var log bytes.Buffer
	command.Stderr = &log
	stdout, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatalf("noisegatetest: %v (pip install noisegate-server, or set NOISEGATE_COMMAND)", err)
	}
	said := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		said <- strings.TrimSpace(line)
	}()
	var line string
	select {
	case line = <-said:
	case <-time.After(startWithin):
	}
	address, isReady := strings.CutPrefix(line, ready)
	if !isReady {
		_ = command.Process.Kill()
		_ = command.Wait()
		t.Fatalf("noisegatetest: the service said %q; its log:\n%s", line, log.String())
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		stopping := time.AfterFunc(stopWithin, func() { _ = command.Process.Kill() })
		defer stopping.Stop()
		_ = command.Wait()
	})
	return address
}
