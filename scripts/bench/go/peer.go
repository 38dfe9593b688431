// The bench's peer on amqp091-go: the same work as peer.ts, with the same output.
//
//	peer publish|consume|queues URL QUEUE COUNT WINDOW SIZE [SPREAD]
//
// publish: COUNT persistent messages of SIZE bytes with publisher confirms, at most WINDOW of them
// unconfirmed. consume: COUNT messages, each acknowledged by itself, prefetch WINDOW. Both share
// count and window among SPREAD connections. queues: COUNT messages in turn to SPREAD durable classic
// queues, QUEUE.0 and so on, which it declares.
// Prints the seconds from the first publish or delivery to the last confirm or acknowledgement, the
// most memory the process ever held, in kB, and the seconds that declaring took.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	if len(os.Args) < 7 {
		log.Fatal("usage: peer publish|consume|queues URL QUEUE COUNT WINDOW SIZE [SPREAD]")
	}
	mode, url, queue := os.Args[1], os.Args[2], os.Args[3]
	count, window, size := number(os.Args[4]), number(os.Args[5]), number(os.Args[6])
	spread := 1
	if len(os.Args) > 7 {
		spread = number(os.Args[7])
	}
	body := make([]byte, size)

	var seconds, declaring float64
	switch mode {
	case "publish":
		channels := open(url, spread)
		var all sync.WaitGroup
		started := time.Now()
		for i, ch := range channels {
			all.Add(1)
			go func(ch *amqp.Channel, count int) {
				publish(ch, []string{queue}, count, share(window, spread), body)
				all.Done()
			}(ch, count/spread+extra(count, spread, i))
		}
		all.Wait()
		seconds = time.Since(started).Seconds()
	case "consume":
		seconds = consume(open(url, spread), queue, count, share(window, spread))
	case "queues":
		ch := open(url, 1)[0]
		started := time.Now()
		queues := make([]string, spread)
		for i := range queues {
			queues[i] = fmt.Sprintf("%s.%d", queue, i)
			_, err := ch.QueueDeclare(queues[i], true, false, false, false, nil)
			check(err)
		}
		declaring = time.Since(started).Seconds()
		started = time.Now()
		publish(ch, queues, count, window, body)
		seconds = time.Since(started).Seconds()
	default:
		log.Fatalf("mode must be publish, consume or queues, and is %q", mode)
	}
	fmt.Printf("%.6f %s %.6f\n", seconds, peakMemory(), declaring)
}

// open makes connections with a channel each.
func open(url string, count int) []*amqp.Channel {
	channels := make([]*amqp.Channel, count)
	for i := range channels {
		conn, err := amqp.Dial(url)
		check(err)
		channels[i], err = conn.Channel()
		check(err)
	}
	return channels
}

// share is what each of some gets of a whole, at least one.
func share(whole, among int) int {
	if whole < among {
		return 1
	}
	return whole / among
}

// extra is one for as many as the remainder of a division says.
func extra(whole, among, i int) int {
	if i < whole%among {
		return 1
	}
	return 0
}

func publish(ch *amqp.Channel, queues []string, count, window int, body []byte) {
	check(ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, window))
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "text/plain", Body: body}
	for sent, confirmed := 0, 0; confirmed < count; {
		if sent < count && sent-confirmed < window {
			check(ch.Publish("", queues[sent%len(queues)], true, false, message))
			sent++
			continue
		}
		if confirmation := <-confirms; !confirmation.Ack {
			log.Fatalf("message %d was refused", confirmation.DeliveryTag)
		}
		confirmed++
	}
}

func consume(channels []*amqp.Channel, queue string, count, prefetch int) float64 {
	var started time.Time
	var begin sync.Once
	var done atomic.Int64
	last := make(chan bool)
	for _, ch := range channels {
		check(ch.Qos(prefetch, 0, false))
		deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
		check(err)
		go func() {
			for delivery := range deliveries {
				begin.Do(func() { started = time.Now() })
				check(delivery.Ack(false))
				if done.Add(1) == int64(count) {
					close(last)
				}
			}
		}()
	}
	<-last
	seconds := time.Since(started).Seconds()
	// Closing waits until the broker has read the acknowledgements.
	check(channels[0].Close())
	return seconds
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
