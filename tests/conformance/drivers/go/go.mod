// The Go driver of tests/conformance; part of no release.
module github.com/noisegate/noisegate/tests/conformance/drivers/go

go 1.25.0

require (
	github.com/noisegate/noisegate/clients/go v0.0.0
	google.golang.org/grpc v1.81.0
)

require (
	golang.org/x/net v0.51.0 // indirect
	golang.org/x/sys v0.42.0 // indirect
	golang.org/x/text v0.34.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260226221140-a57be14db171 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/noisegate/noisegate/clients/go => ../../../../clients/go
