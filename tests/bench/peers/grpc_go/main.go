// A grpc-go server on one processor whose one method answers with as many bytes as the first argument says.
//
// Raw bytes both ways, no protobuf: it stands beside the no-op of grpc.aio.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

type raw struct{}

func (raw) Marshal(value any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*value.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, value any) error {
	*value.(*[]byte) = data.Materialize()
	return nil
}

func (raw) Name() string { return "raw" }

var _ encoding.CodecV2 = raw{}

func main() {
	runtime.GOMAXPROCS(1)
	size, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	answer := make([]byte, size)
	call := grpc.MethodDesc{
		MethodName: "Call",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var body []byte
			if err := decode(&body); err != nil {
				return nil, err
			}
			return &answer, nil
		},
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "noisegate.bench.NoOp", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{call},
	}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("no-op listening on %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}
