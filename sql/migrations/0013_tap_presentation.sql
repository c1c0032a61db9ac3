-- What was proven of the card at a tap, so that a replay asks of it what the gate asked. Taps of older readers do not say.

ALTER TABLE tap ADD COLUMN presentation text;  -- static, live, chip, totp, uid; NULL: not told, or no card of ours
