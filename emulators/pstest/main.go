// Serves Google's own fake of Pub/Sub (cloud.google.com/go/pubsub/pstest) on a port that the caller chooses.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"cloud.google.com/go/pubsub/pstest"
	pubsub "google.golang.org/genproto/googleapis/pubsub/v1"
	"google.golang.org/grpc"
)

const largestMessageBytes = 64 << 20 // a publish may have 10 MB, a pull several such messages; gRPC's default is 4

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	flag.Parse()

	pstest.SetMinAckDeadline(time.Second)
	fake := pstest.NewServer()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(largestMessageBytes), grpc.MaxSendMsgSize(largestMessageBytes))
	pubsub.RegisterPublisherServer(server, &fake.GServer)
	pubsub.RegisterSubscriberServer(server, &fake.GServer)
	fmt.Println(listener.Addr()) // the caller waits for this line
	if err := server.Serve(listener); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
