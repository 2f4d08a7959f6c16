// Go's net package: one goroutine for each connection, bufio on both sides, flushed when no whole line is waiting.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"log"
	"net"
)

const maxLine = 64 * 1024

func handle(line []byte) []byte { return line }

func echo(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, maxLine)
	writer := bufio.NewWriterSize(conn, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return
		}
		writer.Write(handle(line[:len(line)-1]))
		writer.WriteByte('\n')
		waiting, _ := reader.Peek(reader.Buffered())
		if bytes.IndexByte(waiting, '\n') < 0 {
			if writer.Flush() != nil {
				return
			}
		}
	}
}

func main() {
	port := flag.Int("port", 0, "0: any free one")
	flag.String("framing", "lines", "lines only")
	flag.Parse()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("READY %d\n", listener.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(conn)
	}
}
