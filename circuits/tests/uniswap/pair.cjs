// Asks @uniswap/v2-sdk what a pool gives. Each line read is a case: the reserves x and y, an amount, the shares, dx and dy that
// join, and shares that leave. Each line written is what it says: the output of the amount of x, that of as much y, the shares of a
// pool that is founded with x and y, those that join, and x and y of those that leave. What it refuses for being too little is 0.

const { CurrencyAmount, Token } = require("@uniswap/sdk-core");
const { InsufficientInputAmountError, Pair } = require("@uniswap/v2-sdk");
const { readFileSync } = require("node:fs");

const token = (digit) => new Token(1, `0x${digit.repeat(40)}`, 18);
const [X, Y] = [token("1"), token("2")];
const amount = (currency, value) => CurrencyAmount.fromRawAmount(currency, value);

function unlessTooLittle(compute) {
  try {
    return compute().quotient.toString();
  } catch (error) {
    if (error instanceof InsufficientInputAmountError) return "0";
    throw error;
  }
}

function answer([x, y, paid, shares, dx, dy, given]) {
  const pair = new Pair(amount(X, x), amount(Y, y));
  const liquidity = (value) => amount(pair.liquidityToken, value);
  return [
    unlessTooLittle(() => pair.getOutputAmount(amount(X, paid))[0]),
    unlessTooLittle(() => pair.getOutputAmount(amount(Y, paid))[0]),
    unlessTooLittle(() => pair.getLiquidityMinted(liquidity("0"), amount(X, x), amount(Y, y))),
    unlessTooLittle(() => pair.getLiquidityMinted(liquidity(shares), amount(X, dx), amount(Y, dy))),
    unlessTooLittle(() => pair.getLiquidityValue(X, liquidity(shares), liquidity(given))),
    unlessTooLittle(() => pair.getLiquidityValue(Y, liquidity(shares), liquidity(given))),
  ];
}

const cases = readFileSync(0, "utf8").trimEnd().split("\n");
process.stdout.write(cases.map((line) => answer(line.split(" ")).join(" ") + "\n").join(""));
