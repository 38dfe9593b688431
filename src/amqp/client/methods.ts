/**
 * Which methods a broker may send to a client, of those that the package acts on.
 *
 * Works around @cloudamqp/amqp-client 4.1.1, which reads the arguments of a method that it does not
 * know as the next frame.
 */
import {
  BasicMethod,
  ChannelMethod,
  ClassId,
  ConfirmMethod,
  ExchangeMethod,
  QueueMethod,
} from "@cloudamqp/amqp-client/amqp-frame";

const FROM_BROKER: Readonly<Partial<Record<ClassId, ReadonlySet<number>>>> = {
  [ClassId.CHANNEL]: new Set([ChannelMethod.OPEN_OK, ChannelMethod.CLOSE_OK]),
  [ClassId.EXCHANGE]: new Set([
    ExchangeMethod.DECLARE_OK,
    ExchangeMethod.DELETE_OK,
    ExchangeMethod.BIND_OK,
    ExchangeMethod.UNBIND_OK,
  ]),
  [ClassId.QUEUE]: new Set([
    QueueMethod.DECLARE_OK,
    QueueMethod.BIND_OK,
    QueueMethod.PURGE_OK,
    QueueMethod.DELETE_OK,
    QueueMethod.UNBIND_OK,
  ]),
  [ClassId.BASIC]: new Set([
    BasicMethod.QOS_OK,
    BasicMethod.CONSUME_OK,
    BasicMethod.CANCEL_OK,
    BasicMethod.RETURN,
    BasicMethod.DELIVER,
    BasicMethod.GET_OK,
    BasicMethod.GET_EMPTY,
    BasicMethod.ACK,
    BasicMethod.RECOVER_OK,
  ]),
  [ClassId.CONFIRM]: new Set([ConfirmMethod.SELECT_OK]),
};

export function comesFromBroker(classId: ClassId, methodId: number): boolean {
  return FROM_BROKER[classId]?.has(methodId) ?? false;
}
