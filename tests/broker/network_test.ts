import { assertEquals } from "@std/assert";
import { networkOf } from "../../src/broker/connection/network.ts";

Deno.test("an IPv6 host is its /64, however its address is written", () => {
  for (
    const [address, network] of [
      ["192.0.2.7", "192.0.2.7"],
      ["::ffff:192.0.2.7", "192.0.2.7"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
      ["2001:db8:1:2::1", "2001:db8:1:2"],
      ["2001:0DB8:1:2:ffff::", "2001:db8:1:2"],
      ["2001:db8::1", "2001:db8:0:0"],
      ["2001:db8::5:6:7:8:9", "2001:db8:0:5"],
      ["::1", "0:0:0:0"],
      ["::", "0:0:0:0"],
      ["fe80::1%eth0", "fe80:0:0:0"],
      ["64:ff9b::192.0.2.7", "64:ff9b:0:0"],
      ["", ""],
    ] as const
  ) assertEquals(networkOf(address), network, address);
});
