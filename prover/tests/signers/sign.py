"""Signs a PSBT with embit: sign.py SEED IN OUT. It finds its key by the origin that the PSBT names, from the seed in hexadecimal."""

import sys

from embit.bip32 import HDKey
from embit.psbt import PSBT

seed, source, target = sys.argv[1:]
with open(source, "rb") as file:
    psbt = PSBT.parse(file.read())
if psbt.sign_with(HDKey.from_seed(bytes.fromhex(seed))) == 0:
    sys.exit("nothing was signed")
with open(target, "wb") as file:
    file.write(psbt.serialize())
