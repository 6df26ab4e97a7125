/* SPDX-License-Identifier: Apache-2.0 */
/* Packed weights among the models of this machine. */
#ifndef TWINAX_CMD_MODELS_PACKS_H
#define TWINAX_CMD_MODELS_PACKS_H

/* One line about them for people, where there are any. */
void tw_models_packs_tell(void);

#endif
