// One end of TLS by crypto/tls: `peer client VERSION ADDRESS NAME CA [CERT]`, `peer server VERSION ADDRESS CA CERT CRL`.
// A client says hello and prints what comes; a server asks for a certificate and sends one line back.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	check(err)
	return data
}

func pool(path string) *x509.CertPool {
	made := x509.NewCertPool()
	made.AppendCertsFromPEM(read(path))
	return made
}

func config(version string) *tls.Config {
	number := uint16(tls.VersionTLS13)
	if version == "1.2" {
		number = tls.VersionTLS12
	}
	return &tls.Config{MinVersion: number, MaxVersion: number}
}

func client(words []string) {
	made := config(words[0])
	made.ServerName, made.RootCAs = words[2], pool(words[3])
	if len(words) > 4 {
		pair, err := tls.LoadX509KeyPair(words[4], words[4])
		check(err)
		// Shown whatever authorities the server names: what that makes of a wrong one is the question.
		made.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	conn, err := tls.Dial("tcp", words[1], made)
	check(err)
	_, err = conn.Write([]byte("hello\n"))
	check(err)
	answer, err := io.ReadAll(conn)
	check(err)
	os.Stdout.Write(answer)
}

func serve(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil {
		conn.Write([]byte(line))
	}
}

func server(words []string) {
	pair, err := tls.LoadX509KeyPair(words[3], words[3])
	check(err)
	made := config(words[0])
	made.Certificates = []tls.Certificate{pair}
	made.ClientAuth, made.ClientCAs = tls.RequireAndVerifyClientCert, pool(words[2])
	list, err := x509.ParseCRL(read(words[4]))
	check(err)
	made.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error {
		for _, revoked := range list.TBSCertList.RevokedCertificates {
			if revoked.SerialNumber.Cmp(chains[0][0].SerialNumber) == 0 {
				return errors.New("revoked")
			}
		}
		return nil
	}
	listener, err := tls.Listen("tcp", words[1], made)
	check(err)
	fmt.Println(listener.Addr())
	for {
		conn, err := listener.Accept()
		check(err)
		go serve(conn)
	}
}

func main() {
	if os.Args[1] == "client" {
		client(os.Args[2:])
	} else {
		server(os.Args[2:])
	}
}
