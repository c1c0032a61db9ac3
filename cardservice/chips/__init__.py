"""Cards on NFC chips: what a personalisation station writes, and which legacy chip stands for which card."""
