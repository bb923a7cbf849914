// client URL COUNT CA: one http.Client, whose TLS configuration has a session cache.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
)

func main() {
	url, authority := os.Args[1], os.Args[3]
	count, err := strconv.Atoi(os.Args[2])
	check(err)
	certificate, err := os.ReadFile(authority)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs:            roots,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}}}
	for n := 0; n < count; n++ {
		answer, err := client.Get(url)
		check(err)
		_, err = io.Copy(io.Discard, answer.Body)
		check(err)
		check(answer.Body.Close())
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
