// The scenario of clients_test.ts with amqp091-go. Usage: amqp091_client URL PREFIX
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func connect(url string) *amqp.Connection {
	for {
		connection, err := amqp.Dial(url)
		if err == nil {
			return connection
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func open(connection *amqp.Connection) (*amqp.Channel, <-chan amqp.Confirmation) {
	channel, err := connection.Channel()
	check(err)
	check(channel.Confirm(false))
	check(channel.Qos(1, 0, false))
	return channel, channel.NotifyPublish(make(chan amqp.Confirmation, 1))
}

// The library's deferred confirmations miss a confirm that comes before they are noted, as that of a
// task without a queue may.
func publish(channel *amqp.Channel, confirms <-chan amqp.Confirmation, key, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	check(channel.PublishWithContext(ctx, "", key, true, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)}))
	if confirm := <-confirms; !confirm.Ack {
		log.Fatal("nacked: ", body)
	}
}

func deliveries(channel *amqp.Channel, queue string, count int, handle func(amqp.Delivery)) {
	messages, err := channel.Consume(queue, "consumer", false, false, false, false, nil)
	check(err)
	for i := 0; i < count; i++ {
		handle(<-messages)
	}
	check(channel.Cancel("consumer", false))
}

func main() {
	url, prefix := os.Args[1], os.Args[2]
	work, dead := prefix+".work", prefix+".dead"

	connection := connect(url)
	channel, confirms := open(connection)
	_, err := channel.QueueDeclare(dead, true, false, false, false, nil)
	check(err)
	_, err = channel.QueueDeclare(work, true, false, false, false,
		amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
	check(err)
	for _, body := range []string{"one", "two", "three"} {
		publish(channel, confirms, work, body)
	}
	fmt.Println("confirmed 3")

	deliveries(channel, work, 4, func(d amqp.Delivery) {
		times := map[bool]string{false: "first", true: "again"}[d.Redelivered]
		fmt.Println("got", string(d.Body), times)
		switch {
		case string(d.Body) == "three":
			check(d.Nack(false, false))
		case string(d.Body) == "two" && !d.Redelivered:
			check(d.Nack(false, true))
		default:
			check(d.Ack(false))
		}
	})
	deliveries(channel, dead, 1, func(d amqp.Delivery) {
		death := d.Headers["x-death"].([]interface{})[0].(amqp.Table)
		fmt.Println("dead", string(d.Body), death["reason"])
		check(d.Ack(false))
	})
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	publish(channel, confirms, prefix+".nowhere", "lost")
	fmt.Println("returned", (<-returns).ReplyCode)
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	publish(channel, confirms, work, "four")
	fmt.Println("ready")

	<-closed
	fmt.Println("cut")
	connection = connect(url)
	channel, confirms = open(connection)
	publish(channel, confirms, work, "five")
	deliveries(channel, work, 2, func(d amqp.Delivery) {
		fmt.Println("after", string(d.Body))
		check(d.Ack(false))
	})
	check(connection.Close())
	fmt.Println("done")
}
