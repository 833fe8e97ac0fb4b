package noisegate

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func record(size int) []byte {
	packet := make([]byte, size)
	copy(packet, "\x0aconnect!")
	for n := headerBytes; n < size; n++ {
		packet[n] = byte(n)
	}
	return packet
}

func TestPeekReadsTypeAndConnectionIDOfOurPacketsAlone(t *testing.T) {
	kind, id, ok := Peek(record(9))
	if !ok || kind != PacketRecord || string(id[:]) != "connect!" {
		t.Fatal(kind, id, ok)
	}
	for first := range 256 {
		packet := record(9)
		packet[0] = byte(first)
		if _, _, ok := Peek(packet); ok != (first >= 0x09 && first <= 0x0e) {
			t.Errorf("first byte %#02x: %v", first, ok)
		}
	}
	if _, _, ok := Peek(record(9)[:8]); ok {
		t.Error("eight bytes are no packet")
	}
}

func TestLargePacketsComeBackWholeFromTheirPartsInAnyOrder(t *testing.T) {
	for _, size := range []int{1_200, 1_201, 5_000, maxPacketBytes} {
		packet := record(size)
		parts, err := Split(packet, 7, DefaultMTU)
		if err != nil || (size <= DefaultMTU) != (len(parts) == 1) {
			t.Fatal(size, len(parts), err)
		}
		if len(parts) == 1 {
			continue
		}
		r := NewReassembler[string](DefaultReassembly)
		for n := len(parts) - 1; n >= 0; n-- {
			if len(parts[n]) > DefaultMTU {
				t.Fatal(len(parts[n]))
			}
			// A part that comes twice changes nothing.
			for range 2 {
				if n == 0 && r.HeldBytes() == 0 {
					break
				}
				whole, err := r.Add(parts[n], "ann", time.Unix(0, 0))
				if err != nil || (n > 0) != (whole == nil) {
					t.Fatal(size, n, err)
				}
				if whole != nil && !bytes.Equal(whole, packet) {
					t.Fatal("another packet")
				}
			}
		}
		if r.HeldBytes() != 0 || len(r.sources) != 0 {
			t.Fatal("something is left")
		}
	}
}

func TestWhatCannotBeCutIsRefused(t *testing.T) {
	fragment := record(2_000)
	fragment[0] = fragmentFirstByte
	for name, packet := range map[string][]byte{
		"a fragment": fragment, "no packet": make([]byte, 2_000), "too large": record(maxPacketBytes + 1),
	} {
		if _, err := Split(packet, 0, DefaultMTU); err == nil {
			t.Error(name)
		}
	}
	if _, err := Split(record(2_000), 0, fragmentHeaderBytes+1); err == nil {
		t.Error("more than 255 parts")
	}
}

func TestStrangersPartsCostBoundedMemoryForABoundedTime(t *testing.T) {
	r := NewReassembler[int](DefaultReassembly)
	now := time.Unix(0, 0)
	for source := range 300 {
		for message := range 16 {
			parts, _ := Split(record(30_000), uint16(message), 20_000)
			if _, err := r.Add(parts[0], source, now); err != nil {
				t.Fatal(err)
			}
			if r.cost > DefaultReassembly.TotalBytes || r.sources[source].sets.Len() > DefaultReassembly.SetsPerSource {
				t.Fatal(r.cost)
			}
		}
	}
	last, _ := Split(record(30_000), 99, 20_000)
	if _, err := r.Add(last[0], -1, now.Add(DefaultReassembly.Lifetime)); err != nil || len(r.sets) != 1 {
		t.Fatal(err, len(r.sets))
	}
}

func TestMalformedPartsAreRefused(t *testing.T) {
	parts, _ := Split(record(3_000), 1, DefaultMTU)
	number := bytes.Clone(parts[0])
	number[11] = number[12]
	for name, part := range map[string][]byte{"a header alone": parts[0][:13], "past the last": number, "a record": record(20)} {
		if _, err := NewReassembler[int](DefaultReassembly).Add(part, 0, time.Time{}); !errors.Is(err, ErrBadFragment) {
			t.Error(name, err)
		}
	}
	// Parts whose sum is no packet of their connection.
	r := NewReassembler[int](DefaultReassembly)
	for n, part := range parts {
		part = bytes.Clone(part)
		part[1] ^= 1
		whole, err := r.Add(part, 0, time.Time{})
		if whole != nil || (n == len(parts)-1) != errors.Is(err, ErrBadFragment) {
			t.Fatal(n, err)
		}
	}
}
