/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* As capset(2) has it. Who has none loses none. */
#include "sandbox/capabilities.h"

#include "base/fault.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (UINT64_C(1) << (capability))

/* The core opens shards and the ledger, whoever's they are, and locks memory; the parent looks up in /proc who
 * still maps a slot. */
static const uint64_t needed[SANDBOX_ROLES] = {
	[SANDBOX_CORE] = BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_IPC_LOCK),
	[SANDBOX_PARENT] = BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_SYS_PTRACE),
};

int capabilities_give_up(enum sandbox_role role)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
	bool has_more = false;

	if (syscall(SYS_capget, &head, sets) < 0)
		return fail(-errno);
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		const uint32_t kept = (uint32_t)(needed[role] >> (32 * i));

		has_more = has_more || (sets[i].permitted & ~kept) || sets[i].inheritable;
		sets[i].permitted &= kept;
		sets[i].effective &= sets[i].permitted;
		sets[i].inheritable = 0;
	}
	return has_more && syscall(SYS_capset, &head, sets) < 0 ? fail(-errno) : 0;
}
