/**
 * A program that makes a session, whose leader it is, and becomes the command that its arguments
 * name. setsid(1) does that too, and costs as much as a short command itself, because the system
 * links it with the C library each time; this one is a few instructions, and costs a fifth.
 */

/** Instructions for each kind of machine, behind which the complaint stands. */
const CODE: Readonly<Record<typeof Deno.build.arch, (length: number) => readonly number[]>> = {
  x86_64: (length) => [
    ...[0xb8, 0x70, 0x00, 0x00, 0x00], //             mov eax, 112 (setsid)
    ...[0x0f, 0x05], //                               syscall
    ...[0x85, 0xc0], //                               test eax, eax
    ...[0x78, 0x17], //                               js failed
    ...[0x48, 0x8b, 0x04, 0x24], //                   mov rax, [rsp] (argc)
    ...[0x48, 0x8d, 0x74, 0x24, 0x10], //             lea rsi, [rsp + 16] (the arguments behind its own)
    ...[0x48, 0x8b, 0x3e], //                         mov rdi, [rsi] (the command)
    ...[0x48, 0x8d, 0x14, 0xc6], //                   lea rdx, [rsi + rax * 8] (the environment)
    ...[0xb8, 0x3b, 0x00, 0x00, 0x00], //             mov eax, 59 (execve)
    ...[0x0f, 0x05], //                               syscall
    ...[0xb8, 0x01, 0x00, 0x00, 0x00], //     failed: mov eax, 1 (write)
    ...[0xbf, 0x02, 0x00, 0x00, 0x00], //             mov edi, 2 (stderr)
    ...[0x48, 0x8d, 0x35, 0x13, 0x00, 0x00, 0x00], // lea rsi, [rip + 19] (the complaint)
    ...[0xba, length, 0x00, 0x00, 0x00], //           mov edx, length
    ...[0x0f, 0x05], //                               syscall
    ...[0xb8, 0xe7, 0x00, 0x00, 0x00], //             mov eax, 231 (exit_group)
    ...[0xbf, 0x7f, 0x00, 0x00, 0x00], //             mov edi, 127
    ...[0x0f, 0x05], //                               syscall
  ],
  aarch64: (length) =>
    [
      0xd28013a8, //               mov x8, 157 (setsid)
      0xd4000001, //               svc 0
      0xb7f800e0, //               tbnz x0, 63, failed
      0xf94003e2, //               ldr x2, [sp] (argc)
      0x910043e1, //               add x1, sp, 16 (the arguments behind its own)
      0xf9400020, //               ldr x0, [x1] (the command)
      0x8b020c22, //               add x2, x1, x2, lsl 3 (the environment)
      0xd2801ba8, //               mov x8, 221 (execve)
      0xd4000001, //               svc 0
      0xd2800040, //       failed: mov x0, 2 (stderr)
      0x100000e1, //               adr x1, . + 28 (the complaint)
      0xd2800002 | length << 5, // mov x2, length
      0xd2800808, //               mov x8, 64 (write)
      0xd4000001, //               svc 0
      0xd2800fe0, //               mov x0, 127
      0xd2800bc8, //               mov x8, 94 (exit_group)
      0xd4000001, //               svc 0
    ].flatMap((word) => [word & 0xff, word >>> 8 & 0xff, word >>> 16 & 0xff, word >>> 24]),
};

/** e_machine of elf(5). */
const MACHINE = { x86_64: 62, aarch64: 183 };

/** Where the program stands in memory. */
const BASE = 0x400000;
/** Bytes of the ELF header, of a program header, and of all before the instructions. */
const HEADER_BYTES = 64;
const SEGMENT_BYTES = 56;
const BEFORE_CODE = HEADER_BYTES + 2 * SEGMENT_BYTES;
const PT_LOAD = 1;
const PT_GNU_STACK = 0x6474e551;
const EXECUTE = 1, WRITE = 2, READ = 4;

/** What is nowhere. */
const NO_COMMAND = "/dev/null/none";

/** A launcher in a file. */
export class Launcher {
  readonly file: string;
  /** All that it writes to stderr when it has not become the command; nobody else can know it. */
  readonly #complaint: Uint8Array;
  #trial: Promise<void> | undefined;
  #works: boolean | undefined;

  private constructor(file: string, complaint: Uint8Array) {
    this.file = file;
    this.#complaint = complaint;
  }

  /**
   * Makes the file. It goes with its folder.
   *
   * @param folder that only this user can write to
   * @returns undefined: not on this system, or not in this folder
   */
  static make(folder: string): Launcher | undefined {
    if (Deno.build.os !== "linux") return undefined;
    const file = `${folder}/launcher`;
    const complaint = new TextEncoder().encode(`not run ${crypto.randomUUID()}\n`);
    try {
      Deno.writeFileSync(file, launcherProgram(Deno.build.arch, complaint), {
        mode: 0o700,
        createNew: true,
      });
    } catch {
      return undefined;
    }
    return new Launcher(file, complaint);
  }

  /** Whether it runs here; undefined: it was not tried out. */
  get works(): boolean | undefined {
    return this.#works;
  }

  /**
   * Has it complain once: a disk may forbid programs, and what an emulator of another machine cannot
   * start ends there like a command that failed.
   */
  tryOut(): Promise<void> {
    return this.#trial ??= this.#complain();
  }

  async #complain(): Promise<void> {
    try {
      const { stderr } = await new Deno.Command(this.file, {
        args: [NO_COMMAND],
        clearEnv: true,
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).output();
      this.#works = this.isComplaint(stderr);
    } catch {
      this.#works = false;
    }
  }

  /** Whether that is what the launcher says, and the command has not run. @param stderr a chunk */
  isComplaint(stderr: Uint8Array): boolean {
    return stderr.length === this.#complaint.length &&
      stderr.every((byte, at) => byte === this.#complaint[at]);
  }
}

/**
 * The file of a launcher.
 *
 * @param complaint what it writes to stderr when it cannot execute the command; at most 127 bytes
 */
export function launcherProgram(
  arch: typeof Deno.build.arch,
  complaint: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const code = CODE[arch](complaint.length);
  const length = BEFORE_CODE + code.length + complaint.length;
  const file = new Uint8Array(length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // "\x7fELF", of 64 bits, little-endian, version 1
  view.setUint16(16, 2, true); // at a fixed place
  view.setUint16(18, MACHINE[arch], true);
  view.setUint32(20, 1, true);
  view.setUint32(24, BASE + BEFORE_CODE, true);
  view.setUint32(32, HEADER_BYTES, true);
  view.setUint16(52, HEADER_BYTES, true);
  view.setUint16(54, SEGMENT_BYTES, true);
  view.setUint16(56, 2, true);
  const load = HEADER_BYTES;
  view.setUint32(load, PT_LOAD, true);
  view.setUint32(load + 4, READ | EXECUTE, true);
  view.setUint32(load + 16, BASE, true);
  view.setUint32(load + 24, BASE, true);
  view.setUint32(load + 32, length, true);
  view.setUint32(load + 40, length, true);
  view.setUint32(load + 48, 0x10000, true);
  // Else it would ask for a stack that can be executed.
  const stack = load + SEGMENT_BYTES;
  view.setUint32(stack, PT_GNU_STACK, true);
  view.setUint32(stack + 4, READ | WRITE, true);
  file.set(code, BEFORE_CODE);
  file.set(complaint, BEFORE_CODE + code.length);
  return file;
}
