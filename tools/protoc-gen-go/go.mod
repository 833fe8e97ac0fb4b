// The generators of clients/go/noisegate/v1, pinned and checked by hash. `tools/setup.sh go` builds them into a cache.
module github.com/noisegate/noisegate/tools/protoc-gen-go

go 1.25.0

tool (
	google.golang.org/grpc/cmd/protoc-gen-go-grpc
	google.golang.org/protobuf/cmd/protoc-gen-go
)

require (
	google.golang.org/grpc/cmd/protoc-gen-go-grpc v1.6.2 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
