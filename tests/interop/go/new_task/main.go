// The sender of RabbitMQ's second tutorial (Work Queues) on amqp091-go.
//
//	AMQP_URL=... QUEUE_TYPE=quorum|classic new_task Hello...
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	conn, err := amqp.Dial(os.Getenv("AMQP_URL"))
	failOnError(err, "Failed to connect to RabbitMQ")
	defer conn.Close()

	ch, err := conn.Channel()
	failOnError(err, "Failed to open a channel")
	defer ch.Close()

	args := amqp.Table{"x-queue-type": "quorum"}
	if os.Getenv("QUEUE_TYPE") == "classic" {
		args = nil // as the tutorial had it before quorum queues
	}
	q, err := ch.QueueDeclare("task_queue", true, false, false, false, args)
	failOnError(err, "Failed to declare a queue")

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	body := strings.Join(os.Args[1:], " ")
	if body == "" {
		body = "hello"
	}
	err = ch.PublishWithContext(ctx, "", q.Name, false, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent,
		ContentType:  "text/plain",
		Body:         []byte(body),
	})
	failOnError(err, "Failed to publish a message")
	fmt.Printf(" [x] Sent %s\n", body)
}

func failOnError(err error, msg string) {
	if err != nil {
		log.Fatalf("%s: %s", msg, err)
	}
}
