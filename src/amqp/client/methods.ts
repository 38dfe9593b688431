/** Which methods a broker may send to a client, of those that the package acts on. */
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

/** The package would read past a method it does not know. */
export function comesFromBroker(classId: ClassId, methodId: number): boolean {
  return FROM_BROKER[classId]?.has(methodId) ?? false;
}
