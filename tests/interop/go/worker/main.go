// The worker of RabbitMQ's second tutorial (Work Queues) on amqp091-go; ends when it is killed.
//
//	AMQP_URL=... QUEUE_TYPE=quorum|classic worker
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
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

	failOnError(ch.Qos(1, 0, false), "Failed to set QoS")

	msgs, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	failOnError(err, "Failed to register a consumer")

	fmt.Println(" [*] Waiting for messages. To exit press CTRL+C")
	for d := range msgs {
		fmt.Printf(" [x] Received %s\n", d.Body)
		time.Sleep(time.Duration(bytes.Count(d.Body, []byte("."))) * time.Second)
		fmt.Println(" [x] Done")
		failOnError(d.Ack(false), "Failed to acknowledge")
	}
}

func failOnError(err error, msg string) {
	if err != nil {
		log.Fatalf("%s: %s", msg, err)
	}
}
