// The bench's peer on amqp091-go: the same work as peer.ts, with the same output.
//
//	peer publish|consume URL QUEUE COUNT WINDOW SIZE
//
// publish: COUNT persistent messages of SIZE bytes with publisher confirms, at most WINDOW of them
// unconfirmed. consume: COUNT messages, each acknowledged by itself, prefetch WINDOW.
// Prints the seconds from the first publish or delivery to the last confirm or acknowledgement, and
// the most memory the process ever held, in kB.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	if len(os.Args) != 7 {
		log.Fatal("usage: peer publish|consume URL QUEUE COUNT WINDOW SIZE")
	}
	mode, url, queue := os.Args[1], os.Args[2], os.Args[3]
	count, window, size := number(os.Args[4]), number(os.Args[5]), number(os.Args[6])

	conn, err := amqp.Dial(url)
	check(err)
	ch, err := conn.Channel()
	check(err)

	var seconds float64
	switch mode {
	case "publish":
		seconds = publish(ch, queue, count, window, make([]byte, size))
	case "consume":
		seconds = consume(ch, queue, count, window)
	default:
		log.Fatalf("mode must be publish or consume, and is %q", mode)
	}
	check(conn.Close())
	fmt.Printf("%.6f %s\n", seconds, peakMemory())
}

func publish(ch *amqp.Channel, queue string, count, window int, body []byte) float64 {
	check(ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, window))
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "text/plain", Body: body}
	started := time.Now()
	for sent, confirmed := 0, 0; confirmed < count; {
		if sent < count && sent-confirmed < window {
			check(ch.Publish("", queue, true, false, message))
			sent++
			continue
		}
		if confirmation := <-confirms; !confirmation.Ack {
			log.Fatalf("message %d was refused", confirmation.DeliveryTag)
		}
		confirmed++
	}
	return time.Since(started).Seconds()
}

func consume(ch *amqp.Channel, queue string, count, prefetch int) float64 {
	check(ch.Qos(prefetch, 0, false))
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	check(err)
	var started time.Time
	for done := 0; done < count; done++ {
		delivery, open := <-deliveries
		if done == 0 {
			started = time.Now()
		}
		if !open {
			log.Fatalf("the channel ended after %d messages", done)
		}
		check(delivery.Ack(false))
	}
	return time.Since(started).Seconds()
}

// peakMemory is VmHWM of /proc/self/status, or 0 where there is none.
func peakMemory() string {
	status, _ := os.ReadFile("/proc/self/status")
	if _, rest, found := strings.Cut(string(status), "VmHWM:"); found {
		return strings.Fields(rest)[0]
	}
	return "0"
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
